"""The TPU API v2: QueuedResources and nodes, as Google's client knows them.

Source: google/cloud/tpu/v2/cloud_tpu.proto
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence

from google.api_core import exceptions
from google.cloud import tpu_v2
from google.longrunning import operations_pb2

from saxflow.local.messages import copied, timestamp
from saxflow.local.paging import page
from saxflow.local.rpc.operations import Operations
from saxflow.local.surroundings import Surroundings
from saxflow.local.tpu.hardware import PARENT, RUNTIME_VERSIONS, SLICES
from saxflow.local.tpu.nodes import NodeRun
from saxflow.local.tpu.queued import QueuedRun
from saxflow.local.tpu.states import RESETTABLE, NodeState, State
from saxflow.local.tpu.validation import check_request, invalid

_QUOTA = (
    "Quota limit 'TPUV5sLitepodServingPerProjectPerZoneForTPUAPI' has been exceeded."
    " Limit: 0 in zone {zone}."
)


class TpuService:
    """The QueuedResources and nodes of one embedded cloud.

    Args:
        surroundings: data directory, environment, images, clock, outcomes.
        operations: where create, delete and reset report.
    """

    def __init__(self, surroundings: Surroundings, operations: Operations) -> None:
        self._around = surroundings
        self._operations = operations
        self._lock = threading.Lock()
        self._runs: dict[str, QueuedRun] = {}
        self._requests: dict[tuple[str, str], operations_pb2.Operation] = {}
        self._stopped = False
        shutil.rmtree(surroundings.data / "vms", ignore_errors=True)  # of a cloud that is no more

    def create_queued_resource(
        self, request: tpu_v2.CreateQueuedResourceRequest
    ) -> operations_pb2.Operation:
        """Ask for TPUs.

        Raises:
            InvalidArgument, AlreadyExists, ResourceExhausted: as the service does.
            ServiceUnavailable: the embedded cloud is stopping.
        """
        check_request(request)
        name = f"{request.parent}/queuedResources/{request.queued_resource_id}"
        with self._lock:
            known = self._requests.get((request.parent, request.request_id))
            if known is not None:
                return known
            self._admit(name, request)
            resource = copied(request.queued_resource)
            resource.name = name
            run = self._runs[name] = QueuedRun(resource, self._around)
            operation = self._operations.begin(request.parent, self._metadata(name, "create"))
            if request.request_id:
                self._requests[request.parent, request.request_id] = operation
        run.accept()
        return self._operations.finish(operation.name, run.snapshot())

    def get_queued_resource(
        self, request: tpu_v2.GetQueuedResourceRequest
    ) -> tpu_v2.QueuedResource:
        """Return a QueuedResource.

        Raises:
            NotFound: there is none.
        """
        return self._known(request.name).snapshot()

    def list_queued_resources(
        self, request: tpu_v2.ListQueuedResourcesRequest
    ) -> tpu_v2.ListQueuedResourcesResponse:
        """Return the QueuedResources of a zone; `-` stands for all zones."""
        found = [r for r in self._all() if _within(r.name, request.parent)]
        runs, token = page(found, request.page_size, request.page_token)
        return tpu_v2.ListQueuedResourcesResponse(
            queued_resources=[run.snapshot() for run in runs], next_page_token=token
        )

    def delete_queued_resource(
        self, request: tpu_v2.DeleteQueuedResourceRequest
    ) -> operations_pb2.Operation:
        """End a request; with `force` its node too.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it has machines and `force` is not set.
        """
        run = self._known(request.name)
        if not run.begin_deletion(force=request.force):
            raise exceptions.FailedPrecondition(
                f"{request.name} is {run.state.name}; delete its nodes first or use force"
            )

        def delete() -> None:
            run.delete()
            with self._lock:
                if self._runs.get(request.name) is run:
                    del self._runs[request.name]

        return self._later(request.name, "delete", delete)

    def reset_queued_resource(
        self, request: tpu_v2.ResetQueuedResourceRequest
    ) -> operations_pb2.Operation:
        """Queue a request again.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it is on its way already.
        """
        run = self._known(request.name)
        if run.state not in RESETTABLE:
            raise exceptions.FailedPrecondition(f"{request.name} is {run.state.name}")

        def reset() -> tpu_v2.QueuedResource:
            run.reset()
            return run.snapshot()

        return self._later(request.name, "reset", reset)

    def get_node(self, request: tpu_v2.GetNodeRequest) -> tpu_v2.Node:
        """Return a node.

        Raises:
            NotFound: there is none.
        """
        return self._node(request.name)[1].snapshot()

    def list_nodes(self, request: tpu_v2.ListNodesRequest) -> tpu_v2.ListNodesResponse:
        """Return the nodes of a zone; `-` stands for all zones."""
        nodes = [n for r in self._all() if _within(r.name, request.parent) and (n := r.node)]
        shown, token = page(nodes, request.page_size, request.page_token)
        return tpu_v2.ListNodesResponse(
            nodes=[node.snapshot() for node in shown], next_page_token=token
        )

    def delete_node(self, request: tpu_v2.DeleteNodeRequest) -> operations_pb2.Operation:
        """Delete a node; its QueuedResource becomes SUSPENDED.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it is being created.
        """
        run, node = self._node(request.name)
        if node.snapshot().state == NodeState.CREATING:
            raise exceptions.FailedPrecondition(
                f"{request.name} is CREATING; delete it when it is READY, or {run.name} with force"
            )

        def delete() -> None:
            run.suspend()

        return self._later(request.name, "delete", delete)

    def get_guest_attributes(
        self, request: tpu_v2.GetGuestAttributesRequest
    ) -> tpu_v2.GetGuestAttributesResponse:
        """Return what the workers wrote as guest attributes.

        Raises:
            NotFound: there is no such node or worker.
        """
        _, node = self._node(request.name)
        workers = list(request.worker_ids) or [str(i) for i in range(len(node.machines))]
        query = [part for part in request.query_path.split("/") if part]
        known = {str(i) for i in range(len(node.machines))}
        if not known.issuperset(workers):
            raise exceptions.NotFound(f"{request.name} has no worker {workers}")
        return tpu_v2.GetGuestAttributesResponse(
            guest_attributes=[self._attributes(node, int(w), query) for w in workers]
        )

    def list_accelerator_types(
        self, request: tpu_v2.ListAcceleratorTypesRequest
    ) -> tpu_v2.ListAcceleratorTypesResponse:
        """Return the accelerator types of a zone."""
        types, token = page(list(SLICES), request.page_size, request.page_token)
        return tpu_v2.ListAcceleratorTypesResponse(
            accelerator_types=[self._accelerator(request.parent, name) for name in types],
            next_page_token=token,
        )

    def get_accelerator_type(
        self, request: tpu_v2.GetAcceleratorTypeRequest
    ) -> tpu_v2.AcceleratorType:
        """Return an accelerator type.

        Raises:
            NotFound: there is none.
        """
        parent, _, name = request.name.partition("/acceleratorTypes/")
        if name not in SLICES:
            raise exceptions.NotFound(f"Resource '{request.name}' was not found")
        return self._accelerator(parent, name)

    def list_runtime_versions(
        self, request: tpu_v2.ListRuntimeVersionsRequest
    ) -> tpu_v2.ListRuntimeVersionsResponse:
        """Return the runtime versions of a zone."""
        versions, token = page(RUNTIME_VERSIONS, request.page_size, request.page_token)
        return tpu_v2.ListRuntimeVersionsResponse(
            runtime_versions=[
                tpu_v2.RuntimeVersion(name=f"{request.parent}/runtimeVersions/{v}", version=v)
                for v in versions
            ],
            next_page_token=token,
        )

    def get_runtime_version(
        self, request: tpu_v2.GetRuntimeVersionRequest
    ) -> tpu_v2.RuntimeVersion:
        """Return a runtime version.

        Raises:
            NotFound: there is none.
        """
        version = request.name.partition("/runtimeVersions/")[2]
        if version not in RUNTIME_VERSIONS:
            raise exceptions.NotFound(f"Resource '{request.name}' was not found")
        return tpu_v2.RuntimeVersion(name=request.name, version=version)

    def preempt(self, name: str) -> bool:
        """Take the machines of a QueuedResource away; False when it is not ACTIVE."""
        return self._known(name).suspend()

    def reboot(self, node: str, worker: int) -> None:
        """Reset one worker of a node, as host maintenance does."""
        machines = self._node(node)[1].machines
        if worker not in range(len(machines)):
            raise exceptions.NotFound(f"{node} has no worker {worker}")
        machines[worker].reset()

    def wait(self, name: str, states: frozenset[State], timeout_seconds: float) -> State:
        """Return a QueuedResource's state once it is one of these, or what it is then."""
        return self._known(name).wait(states, timeout_seconds)

    def stop(self) -> None:
        """End every VM; nothing is created any more."""
        with self._lock:
            self._stopped = True
        for run in self._all():
            run.delete()

    def _admit(self, name: str, request: tpu_v2.CreateQueuedResourceRequest) -> None:
        if self._stopped:
            raise exceptions.ServiceUnavailable("the embedded cloud is stopping")
        if name in self._runs:
            raise exceptions.AlreadyExists(f"Resource '{name}' already exists")
        node = f"{request.parent}/nodes/{request.queued_resource.tpu.node_spec[0].node_id}"
        for run in self._runs.values():
            if run.node_name == node:
                raise exceptions.AlreadyExists(f"Resource '{node}' belongs to {run.name}")
        quota = self._around.outcomes.take("quota", name)
        if quota is not None:
            zone = request.parent.rpartition("/")[2]
            raise exceptions.ResourceExhausted(quota.message or _QUOTA.format(zone=zone))

    def _all(self) -> list[QueuedRun]:
        with self._lock:
            return list(self._runs.values())

    def _known(self, name: str) -> QueuedRun:
        with self._lock:
            if name in self._runs:
                return self._runs[name]
        raise exceptions.NotFound(f"Resource '{name}' was not found")

    def _node(self, name: str) -> tuple[QueuedRun, NodeRun]:
        for run in self._all():
            node = run.node
            if node is not None and node.name == name:
                return run, node
        raise exceptions.NotFound(f"Resource '{name}' was not found")

    def _attributes(
        self, node: NodeRun, worker: int, query: Sequence[str]
    ) -> tpu_v2.GuestAttributes:
        items = [
            tpu_v2.GuestAttributesEntry(namespace=namespace, key=key, value=value)
            for namespace, key, value in node.machines[worker].guest_attributes(query)
        ]
        value = tpu_v2.GuestAttributesValue(items=items)
        return tpu_v2.GuestAttributes(query_path="/".join(query), query_value=value)

    def _accelerator(self, parent: str, name: str) -> tpu_v2.AcceleratorType:
        if not PARENT.fullmatch(parent):
            raise invalid("parent", f"{parent!r} is not projects/P/locations/ZONE")
        config = tpu_v2.AcceleratorConfig(
            type_=tpu_v2.AcceleratorConfig.Type.V5LITE_POD, topology=SLICES[name].topology
        )
        return tpu_v2.AcceleratorType(
            name=f"{parent}/acceleratorTypes/{name}", type_=name, accelerator_configs=[config]
        )

    def _metadata(self, name: str, verb: str) -> tpu_v2.OperationMetadata:
        return tpu_v2.OperationMetadata(
            create_time=timestamp(self._around.clock.now()),
            target=name,
            verb=verb,
            api_version="v2",
        )

    def _later(
        self, name: str, verb: str, action: Callable[[], object]
    ) -> operations_pb2.Operation:
        return self._operations.carry_out(_place(name), self._metadata(name, verb), action)


def _place(name: str) -> str:
    return "/".join(name.split("/")[:4])


def _within(name: str, parent: str) -> bool:
    project, _, zone = parent.partition("/locations/")
    return name.startswith(f"{project}/locations/" if zone == "-" else f"{parent}/")
