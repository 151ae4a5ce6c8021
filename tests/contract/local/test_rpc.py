"""Google's own clients, over gRPC and REST, against plain classes served by `saxflow.local.rpc`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import batch_v1, tpu_v2, workflows_v1
from google.cloud.batch_v1.services.batch_service.transports import BatchServiceGrpcTransport
from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport
from google.cloud.workflows import executions_v1
from google.cloud.workflows.executions_v1.services.executions.transports import (
    ExecutionsGrpcTransport,
)
from google.cloud.workflows_v1.services.workflows.transports import WorkflowsGrpcTransport
from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2

from saxflow.local.arming import fault_admin
from saxflow.local.faults import Faults
from saxflow.local.http import HttpServer
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi
from saxflow.local.rpc.table import BATCH, EXECUTIONS, TPU, WORKFLOWS, methods_of

PARENT = "projects/p/locations/us-central1"


class BatchJobs:
    """Enough of Batch to see every shape of RPC."""

    def __init__(self) -> None:
        self.jobs: dict[str, batch_v1.Job] = {}
        self.listed: list[batch_v1.ListJobsRequest] = []

    def create_job(self, request: batch_v1.CreateJobRequest) -> batch_v1.Job:
        name = f"{request.parent}/jobs/{request.job_id}"
        if name in self.jobs:
            raise exceptions.AlreadyExists(f"{name} already exists")
        job = batch_v1.Job(request.job, name=name)
        job.status.state = batch_v1.JobStatus.State.QUEUED
        self.jobs[name] = job
        return job

    def get_job(self, request: batch_v1.GetJobRequest) -> batch_v1.Job:
        try:
            return self.jobs[request.name]
        except KeyError:
            raise exceptions.NotFound(
                f"{request.name} not found",
                details=[error_details_pb2.ErrorInfo(reason="MISSING", domain="batch")],
            ) from None

    def list_jobs(self, request: batch_v1.ListJobsRequest) -> batch_v1.ListJobsResponse:
        self.listed.append(request)
        return batch_v1.ListJobsResponse(jobs=list(self.jobs.values()))


class TpuNodes:
    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.pending = threading.Event()
        self.updates: list[tpu_v2.UpdateNodeRequest] = []

    def create_queued_resource(
        self, request: tpu_v2.CreateQueuedResourceRequest
    ) -> operations_pb2.Operation:
        name = f"{request.parent}/queuedResources/{request.queued_resource_id}"
        return self.operations.done(request.parent, tpu_v2.QueuedResource(name=name))

    def delete_queued_resource(
        self, request: tpu_v2.DeleteQueuedResourceRequest
    ) -> operations_pb2.Operation:
        operation = self.operations.begin(PARENT)

        def finish() -> None:
            self.pending.wait()
            if request.force:
                self.operations.finish(operation.name)
            else:
                self.operations.fail(operation.name, exceptions.FailedPrecondition("use force"))

        threading.Thread(target=finish).start()
        return operation

    def update_node(self, request: tpu_v2.UpdateNodeRequest) -> operations_pb2.Operation:
        self.updates.append(request)
        return self.operations.done(PARENT, request.node)


class ExecutionRuns:
    def create_execution(
        self, request: executions_v1.CreateExecutionRequest
    ) -> executions_v1.Execution:
        return executions_v1.Execution(
            name=f"{request.parent}/executions/e1", argument=request.execution.argument
        )

    def cancel_execution(
        self, request: executions_v1.CancelExecutionRequest
    ) -> executions_v1.Execution:
        return executions_v1.Execution(
            name=request.name, state=executions_v1.Execution.State.CANCELLED
        )


class WorkflowDefinitions:
    def get_workflow(self, request: workflows_v1.GetWorkflowRequest) -> workflows_v1.Workflow:
        return workflows_v1.Workflow(name=request.name, source_contents="main: {}")


@dataclass
class Cloud:
    batch: BatchJobs
    tpu: TpuNodes
    faults: Faults
    grpc: GrpcServer
    http: HttpServer
    channel: grpc.Channel

    def rest(self, client: Any) -> Any:
        return client(
            transport="rest",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.http.url},
        )

    def batch_clients(self) -> list[batch_v1.BatchServiceClient]:
        transport = BatchServiceGrpcTransport(channel=self.channel)
        return [
            batch_v1.BatchServiceClient(transport=transport),
            self.rest(batch_v1.BatchServiceClient),
        ]

    def tpu_clients(self) -> list[tpu_v2.TpuClient]:
        transport = TpuGrpcTransport(channel=self.channel)
        return [tpu_v2.TpuClient(transport=transport), self.rest(tpu_v2.TpuClient)]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.http.url + path, data, method=method), timeout=60) as reply:
            return json.load(reply)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    faults, operations = Faults(), Operations()
    batch, tpu = BatchJobs(), TpuNodes(operations)
    hosted = [
        Hosted(BATCH, batch),
        Hosted(TPU, tpu),
        Hosted(EXECUTIONS, ExecutionRuns()),
        Hosted(WORKFLOWS, WorkflowDefinitions()),
    ]
    server = GrpcServer(hosted, faults=faults, operations=operations)
    admin = fault_admin(faults)
    api = RestApi(hosted, faults=faults, operations=operations, mounts={"/faults": admin})
    http = HttpServer(api)
    server.start()
    http.start()
    with grpc.insecure_channel(server.target) as channel:
        yield Cloud(batch, tpu, faults, server, http, channel)
    tpu.pending.set()
    api.stop()
    http.stop()
    server.stop()


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_unary_calls_and_errors(cloud: Cloud, transport: int) -> None:
    client = cloud.batch_clients()[transport]
    job = batch_v1.Job(labels={"a": "b"}, priority=7)
    created = client.create_job(parent=PARENT, job=job, job_id="j")
    assert created.name == f"{PARENT}/jobs/j"
    assert created.priority == 7
    assert client.get_job(name=created.name).status.state.name == "QUEUED"
    with pytest.raises(exceptions.Conflict, match="already exists"):
        client.create_job(parent=PARENT, job=job, job_id="j")
    with pytest.raises(exceptions.NotFound) as caught:
        client.get_job(name=f"{PARENT}/jobs/other")
    assert caught.value.reason == "MISSING"


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_query_parameters_are_typed(cloud: Cloud, transport: int) -> None:
    client = cloud.batch_clients()[transport]
    request = batch_v1.ListJobsRequest(parent=PARENT, page_size=5, filter='labels.a="x y"')
    assert list(client.list_jobs(request)) == []
    assert cloud.batch.listed == [request]


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_what_a_class_lacks_is_unimplemented(cloud: Cloud, transport: int) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="list_tasks"):
        list(cloud.batch_clients()[transport].list_tasks(parent=f"{PARENT}/jobs/j/taskGroups/g"))


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_operation_done_at_once(cloud: Cloud, transport: int) -> None:
    operation = cloud.tpu_clients()[transport].create_queued_resource(
        parent=PARENT, queued_resource=tpu_v2.QueuedResource(), queued_resource_id="q"
    )
    assert operation.result(timeout=60).name == f"{PARENT}/queuedResources/q"


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_operation_done_later_with_and_without_error(cloud: Cloud, transport: int) -> None:
    client = cloud.tpu_clients()[transport]
    request = tpu_v2.DeleteQueuedResourceRequest(name=f"{PARENT}/queuedResources/q", force=True)
    good = client.delete_queued_resource(request)
    bad = client.delete_queued_resource(name=f"{PARENT}/queuedResources/q")
    assert not good.done()
    cloud.tpu.pending.set()
    good.result(timeout=60)
    with pytest.raises(exceptions.GoogleAPICallError, match="use force"):
        bad.result(timeout=60)


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_body_field_nested_path_and_field_mask(cloud: Cloud, transport: int) -> None:
    node = tpu_v2.Node(name=f"{PARENT}/nodes/n", description="d")
    mask = field_mask_pb2.FieldMask(paths=["description", "tags"])
    cloud.tpu_clients()[transport].update_node(node=node, update_mask=mask).result(timeout=60)
    assert cloud.tpu.updates == [tpu_v2.UpdateNodeRequest(node=node, update_mask=mask)]


def test_executions_over_grpc_and_its_hand_written_routes(cloud: Cloud) -> None:
    parent = f"{PARENT}/workflows/w"
    client = executions_v1.ExecutionsClient(
        transport=ExecutionsGrpcTransport(channel=cloud.channel)
    )
    execution = executions_v1.Execution(argument='{"a": 1}')
    created = client.create_execution(parent=parent, execution=execution)
    assert created.argument == '{"a": 1}'
    path = f"/v1/{parent}/executions"
    assert cloud.call("POST", path, {"argument": '{"a": 1}'})["name"] == created.name
    assert cloud.call("POST", f"{path}/e1:cancel")["state"] == "CANCELLED"


def test_workflows_over_both(cloud: Cloud) -> None:
    name = f"{PARENT}/workflows/w"
    client = workflows_v1.WorkflowsClient(transport=WorkflowsGrpcTransport(channel=cloud.channel))
    over_grpc = client.get_workflow(name=name)
    assert cloud.rest(workflows_v1.WorkflowsClient).get_workflow(name=name) == over_grpc


def test_rest_errors_have_googles_shape(cloud: Cloud) -> None:
    with pytest.raises(HTTPError) as caught:
        cloud.call("POST", f"/v1/{PARENT}/jobs?jobId=j", {"noSuchField": 1})
    with caught.value as reply:
        error = json.load(reply)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert "noSuchField" in error["message"]
    with pytest.raises(HTTPError, match="404") as caught:
        cloud.call("GET", "/v1/nowhere")
    caught.value.close()


@pytest.mark.parametrize("transport", [0, 1], ids=["grpc", "rest"])
def test_scripted_faults_strike_the_named_call(cloud: Cloud, transport: int) -> None:
    client = cloud.batch_clients()[transport]
    rule = {"service": "batch", "method": "create_job", "action": "return-503", "nth": 2}
    assert cloud.call("POST", "/faults", rule)["faults"][0]["nth"] == 2
    client.create_job(parent=PARENT, job=batch_v1.Job(), job_id="a", retry=None)
    with pytest.raises(exceptions.ServiceUnavailable):
        client.create_job(parent=PARENT, job=batch_v1.Job(), job_id="b", retry=None)
    client.create_job(parent=PARENT, job=batch_v1.Job(), job_id="b", retry=None)
    assert cloud.call("GET", "/faults")["faults"][0]["matched"] == 3
    assert cloud.call("DELETE", "/faults") == {"faults": []}


def test_lost_answer_means_the_call_happened(cloud: Cloud) -> None:
    over_grpc, over_rest = cloud.batch_clients()
    cloud.faults.arm("batch", "create_job", "execute-and-timeout", count=2)
    with pytest.raises(exceptions.DeadlineExceeded):
        over_grpc.create_job(parent=PARENT, job=batch_v1.Job(), job_id="a", retry=None)
    with pytest.raises(Exception, match=r"(?i)connection|remote"):
        over_rest.create_job(parent=PARENT, job=batch_v1.Job(), job_id="b", retry=None)
    assert len(cloud.batch.jobs) == 2


@pytest.mark.parametrize("api", [BATCH, TPU, WORKFLOWS, EXECUTIONS], ids=lambda api: api.name)
def test_every_rpc_of_the_client_has_a_type_and_a_route(api: Any) -> None:
    methods = methods_of(api)
    assert methods
    for method in methods:
        assert method.routes, method.name
        assert hasattr(method.request, "deserialize") or hasattr(method.request, "FromString")
