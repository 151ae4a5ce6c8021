"""Google's Batch and TPU clients, over gRPC and REST, against the embedded services."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import batch_v1, tpu_v2
from google.cloud.batch_v1.services.batch_service.transports import BatchServiceGrpcTransport
from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport

from saxflow.local.batch.service import BatchService
from saxflow.local.faults import Faults
from saxflow.local.http import HttpServer
from saxflow.local.images import ImageRegistry
from saxflow.local.outcomes import Outcomes
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi
from saxflow.local.rpc.table import BATCH, TPU
from saxflow.local.surroundings import Surroundings
from saxflow.local.tpu.service import TpuService

IMAGE = "us-docker.pkg.dev/p/r/tell@sha256:" + "e" * 64
TELL = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
REGION = "projects/p/locations/us-central1"
ZONE = "projects/p/locations/us-central1-a"


@dataclass
class Compute:
    """The embedded Batch and TPU, and clients of both over one transport."""

    data: Path
    outcomes: Outcomes
    batch_service: BatchService
    tpu_service: TpuService
    batch: batch_v1.BatchServiceClient
    tpu: tpu_v2.TpuClient

    def job(self, job_id: str, *runnables: dict[str, Any], **fields: Any) -> batch_v1.Job:
        """Create a Job; `spec` are fields of its TaskSpec, the others of its TaskGroup."""
        spec = {"runnables": list(runnables), **fields.pop("spec", {})}
        job = {"task_groups": [{"task_spec": spec, **fields}]}
        request = batch_v1.CreateJobRequest(parent=REGION, job_id=job_id, job=job)
        return self.batch.create_job(request)

    def ended(self, job: batch_v1.Job) -> batch_v1.Job:
        """Return the Job after its end."""
        self.batch_service.wait(job.name, 60)
        return self.batch.get_job(name=job.name)

    def events(self, job: batch_v1.Job, task: int = 0) -> list[tuple[str, int]]:
        """Return (state, exit code) of a Task's status events that carry an exit code."""
        found = self.batch.get_task(name=f"{job.name}/taskGroups/group0/tasks/{task}")
        events = [e for e in found.status.status_events if "exit code" in e.description]
        return [(e.task_state.name, e.task_execution.exit_code) for e in events]

    def log(self, job_id: str, task: int = 0) -> str:
        return (self.data / f"batch/{job_id}/task-{task}.log").read_text()

    def ask(
        self, name: str, accelerator: str = "v5litepod-4", script: str = "", **fields: Any
    ) -> Any:
        """Create a QueuedResource with one node of the same id; return the LRO."""
        node = {
            "accelerator_type": accelerator,
            "runtime_version": "v2-alpha-tpuv5-lite",
            "labels": {"deployment": "tiny"},
            "metadata": {"startup-script": script} if script else {},
        }
        spec = {"parent": ZONE, "node_id": name, "node": node}
        return self.tpu.create_queued_resource(
            parent=ZONE,
            queued_resource_id=name,
            queued_resource=tpu_v2.QueuedResource(tpu={"node_spec": [spec]}, **fields),
        )

    def reached(self, name: str, *states: str, seconds: float = 60) -> str:
        """Wait until a QueuedResource is in one of the states; return which."""
        kinds = frozenset(tpu_v2.QueuedResourceState.State[s] for s in states)
        self.tpu_service.wait(f"{ZONE}/queuedResources/{name}", kinds, seconds)
        return self.tpu.get_queued_resource(name=f"{ZONE}/queuedResources/{name}").state.state.name


@pytest.fixture(params=["grpc", "rest"])
def compute(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Compute]:
    images = tmp_path / "images.json"
    ImageRegistry({IMAGE: [sys.executable, "-I", "-S", "-c", TELL]}).save(images)
    surroundings = Surroundings(tmp_path, {"PATH": os.environ["PATH"]}, images)
    operations, faults = Operations(), Faults()
    batch, tpu = BatchService(surroundings, operations), TpuService(surroundings, operations)
    hosted = [Hosted(BATCH, batch), Hosted(TPU, tpu)]
    server = GrpcServer(hosted, faults=faults, operations=operations)
    api = RestApi(hosted, faults=faults, operations=operations)
    http = HttpServer(api)
    server.start()
    http.start()
    with grpc.insecure_channel(server.target) as channel:
        clients = _over_grpc(channel) if request.param == "grpc" else _over_rest(http.url)
        yield Compute(tmp_path, surroundings.outcomes, batch, tpu, *clients)
    batch.stop()
    tpu.stop()
    api.stop()
    http.stop()
    server.stop()


def _over_grpc(channel: grpc.Channel) -> tuple[batch_v1.BatchServiceClient, tpu_v2.TpuClient]:
    return (
        batch_v1.BatchServiceClient(transport=BatchServiceGrpcTransport(channel=channel)),
        tpu_v2.TpuClient(transport=TpuGrpcTransport(channel=channel)),
    )


def _over_rest(url: str) -> tuple[batch_v1.BatchServiceClient, tpu_v2.TpuClient]:
    options: dict[str, Any] = {
        "transport": "rest",
        "credentials": AnonymousCredentials(),
        "client_options": {"api_endpoint": url},
    }
    return batch_v1.BatchServiceClient(**options), tpu_v2.TpuClient(**options)


@pytest.fixture
def image() -> str:
    return IMAGE
