"""The embedded Google Cloud as a whole: every service in one process, children below guards.

It knows nothing of what runs on it: who starts it creates buckets, topics and workflows with
Google's own clients, and adds functions, triggers and schedules as a deployment would.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from google.api_core import exceptions
from google.pubsub_v1 import types

from saxflow.local.arming import fault_admin, outcome_admin
from saxflow.local.batch.service import BatchService
from saxflow.local.children import ChildService, function_command
from saxflow.local.clock import Clock, RealClock
from saxflow.local.eventarc import Eventarc, Trigger
from saxflow.local.faults import Faults
from saxflow.local.http import LOOPBACK, Handler, HttpServer
from saxflow.local.images import ImageRegistry
from saxflow.local.outcomes import Outcomes
from saxflow.local.pubsub.broker import Broker
from saxflow.local.pubsub.service import PublisherService, SubscriberService
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi
from saxflow.local.rpc.table import BATCH, EXECUTIONS, PUBLISHER, SUBSCRIBER, TPU, WORKFLOWS
from saxflow.local.scheduler import Schedule, Scheduler
from saxflow.local.storage.notifications import Publish
from saxflow.local.storage.server import StorageServer
from saxflow.local.surroundings import Surroundings
from saxflow.local.tpu.service import TpuService
from saxflow.local.workflows.callbacks import MOUNT as CALLBACKS_MOUNT
from saxflow.local.workflows.definitions import WorkflowsService
from saxflow.local.workflows.executions import ExecutionsService
from saxflow.local.workflows.http import HttpClient

FAULTS_MOUNT = "/local/faults"
OUTCOMES_MOUNT = "/local/outcomes"

_LOG = logging.getLogger(__name__)
_REST_HOSTS = ("batch", "tpu", "workflows", "workflowexecutions", "pubsub")


@dataclass(frozen=True)
class Ports:
    """Loopback ports of the servers; 0 picks a free one."""

    storage: int = 0
    pubsub: int = 0
    grpc: int = 0
    rest: int = 0


class LocalCloud:
    """Every embedded service on one data directory; ports are bound at once, served after `start`.

    Whoever made one ends it with `stop`, started or not.

    Args:
        data_dir: everything that is stored lies below it.
        project, location: what resource names are made of.
        images: which command stands for which container image, for Batch and the TPU VMs.
        clock: time of all services.
        ports: where they listen.
        seed: decides faults that are armed with a probability.

    Attributes:
        faults, outcomes: what goes wrong, for tests; also over HTTP at `/local/faults` and
            `/local/outcomes` of the REST server.
        storage, broker, eventarc, batch, tpu, workflows, executions: the services.

    Raises:
        ConfigurationError: a port is taken.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        project: str,
        location: str,
        images: ImageRegistry,
        clock: Clock | None = None,
        ports: Ports = Ports(),
        seed: int = 0,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.project = project
        self.location = location
        self.clock: Clock = clock or RealClock()
        self.faults = Faults(seed)
        self.outcomes = Outcomes()
        self._children: list[ChildService] = []
        self._running = ExitStack()
        self._environ: dict[str, str] = {}
        self._operations = Operations()
        self.broker = Broker(self.clock)
        self.scheduler = Scheduler(self.clock)
        try:
            self._bind_storage_and_rest(ports)
            self._make_services(images)
            self._bind_grpc(ports)
        except BaseException:
            self.stop()
            raise
        self._environ.update(os.environ | self.environ())

    def _bind_storage_and_rest(self, ports: Ports) -> None:
        self.storage = self._storage_server(ports.storage)
        self._running.callback(self.storage.stop)
        self.eventarc = self._eventarc()
        self._rest = HttpServer(lambda request: self._api(request), port=ports.rest)
        self._running.callback(self._rest.stop)

    def _make_services(self, images: ImageRegistry) -> None:
        around = self._surroundings(images)
        self.batch = BatchService(around, self._operations)
        self.tpu = TpuService(around, self._operations)
        self._http = HttpClient(self._hosts())
        self._running.callback(self._http.close)
        data = self.data_dir / "workflows"
        self.workflows = WorkflowsService(data, self.clock, self._operations)
        self.executions = ExecutionsService(
            self.workflows, data, self.clock, self._http, rest_root=lambda: self._rest.url
        )

    def _bind_grpc(self, ports: Ports) -> None:
        pubsub, hosted = self._pubsub_hosted(), self._hosted()
        self._api = self._rest_api([*hosted, *pubsub])
        self._pubsub = self._grpc_server(pubsub, ports.pubsub)
        self._grpc = self._grpc_server(hosted, ports.grpc)

    def _grpc_server(self, hosted: Sequence[Hosted], port: int) -> GrpcServer:
        server = GrpcServer(hosted, faults=self.faults, operations=self._operations, port=port)
        self._running.callback(server.stop)
        return server

    def start(self) -> None:
        """Begin to serve.

        Raises:
            Exception: a service cannot start; those before it were stopped again.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        stack = self._running
        for server in (self.storage, self._pubsub, self._grpc, self._rest):
            server.start()
        stack.callback(self.eventarc.stop)
        self.eventarc.start()
        stack.callback(self._operations.close)
        stack.callback(self._api.stop)
        stack.callback(self.broker.wake)
        for stopped in (self.tpu, self.batch):
            stack.callback(stopped.stop)
        stack.callback(self._stop_children)
        stack.callback(self.executions.stop)  # before what its Workflows call
        stack.callback(self.scheduler.stop)

    def stop(self) -> None:
        """End every process and release every port; what is stored stays."""
        self._running.close()

    def environ(self) -> dict[str, str]:
        """Return what a client must export to find these services instead of Google's."""
        return {
            "STORAGE_EMULATOR_HOST": self.storage.url,
            "TENSORSTORE_GCS_HTTP_URL": self.storage.url,
            "PUBSUB_EMULATOR_HOST": self._pubsub.target,
            "SAXFLOW_GRPC_ENDPOINT": self._grpc.target,
            "SAXFLOW_REST_ENDPOINT": self._rest.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "local",
            "GOOGLE_CLOUD_PROJECT": self.project,
            "GCE_METADATA_ROOT": "127.0.0.1:1",
            "NO_GCE_CHECK": "true",
            "NO_PROXY": _without_proxy("NO_PROXY"),
            "no_proxy": _without_proxy("no_proxy"),
        }

    def add_function(
        self,
        name: str,
        source: Path,
        target: str,
        *,
        signature: str = "http",
        env: Mapping[str, str] | None = None,
    ) -> ChildService:
        """Start a Cloud Run function; `wait_ready` of what is returned waits until it listens.

        Args:
            source: directory with its `main.py`.
            target: name of the function in it.
            signature: `http` or `cloudevent`.
            env: added to the environment of this process and `environ()`.
        """
        return self.add_command(name, function_command(source, target, signature), env=env)

    def add_command(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> ChildService:
        """Start a Cloud Run service: a command that listens on the loopback port in `PORT`."""
        log = self.data_dir / "logs" / f"{name}.log"
        child = ChildService(name, argv, {**self._environ, **(env or {})}, log)
        self._children.append(child)
        return child

    def add_trigger(self, name: str, *, bucket: str, event: str, url: str) -> Trigger:
        """Send a bucket's events to a URL, at least once.

        Args:
            event: `finalized`, `deleted` or `metadataUpdated`.
        """
        trigger = Trigger(name, bucket, f"google.cloud.storage.object.v1.{event}", url)
        self.eventarc.add_trigger(trigger)
        return trigger

    def add_schedule(self, name: str, *, url: str, every_seconds: float) -> None:
        """POST to a URL at fixed intervals, the first time after one interval."""
        self.scheduler.add(Schedule(name, url, every_seconds))

    def _stop_children(self) -> None:
        for child in self._children:
            child.stop()

    def _storage_server(self, port: int) -> StorageServer:
        return StorageServer(
            self.data_dir / "storage",
            clock=self.clock,
            faults=self.faults,
            publish=_publisher(self.broker),
            project=self.project,
            port=port,
        )

    def _eventarc(self) -> Eventarc:
        eventarc = Eventarc(
            self.data_dir / "eventarc",
            clock=self.clock,
            faults=self.faults,
            storage_root=lambda: self.storage.url,
        )
        self.storage.listen(eventarc.on_event)
        return eventarc

    def _surroundings(self, images: ImageRegistry) -> Surroundings:
        path = self.data_dir / "images.json"
        images.save(path)
        return Surroundings(
            data=self.data_dir,
            env=self._environ,
            images=path,
            clock=self.clock,
            outcomes=self.outcomes,
        )

    def _hosts(self) -> dict[str, str]:
        rest = {f"https://{name}.googleapis.com": self._rest.url for name in _REST_HOSTS}
        return {**rest, "https://storage.googleapis.com": self.storage.url}

    def _pubsub_hosted(self) -> list[Hosted]:
        return [
            Hosted(PUBLISHER, PublisherService(self.broker)),
            Hosted(SUBSCRIBER, SubscriberService(self.broker)),
        ]

    def _hosted(self) -> list[Hosted]:
        return [
            Hosted(BATCH, self.batch),
            Hosted(TPU, self.tpu),
            Hosted(WORKFLOWS, self.workflows),
            Hosted(EXECUTIONS, self.executions),
        ]

    def _rest_api(self, hosted: Sequence[Hosted]) -> RestApi:
        mounts: dict[str, Handler] = {
            FAULTS_MOUNT: fault_admin(self.faults),
            OUTCOMES_MOUNT: outcome_admin(self.outcomes),
            CALLBACKS_MOUNT: self.executions.callback_handler(),
        }
        return RestApi(hosted, faults=self.faults, operations=self._operations, mounts=mounts)


def _without_proxy(variable: str) -> str:
    """Return the variable's value with the loopback addresses in it."""
    known = [name for name in os.environ.get(variable, "").split(",") if name]
    return ",".join(dict.fromkeys([*known, LOOPBACK, "127.0.0.0/8", "localhost"]))


def _publisher(broker: Broker) -> Publish:
    def publish(topic: str, data: bytes, attributes: dict[str, str]) -> None:
        message = types.PubsubMessage(data=data, attributes=attributes)
        try:
            broker.publish(topic, [message])
        except exceptions.GoogleAPICallError as error:
            # The change has happened; a notification that cannot be sent is dropped.
            _LOG.warning("notification to %s: %s", topic, error)

    return publish
