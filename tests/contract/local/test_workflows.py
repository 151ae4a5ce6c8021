"""Google's Workflows and Executions clients against the embedded services, over gRPC and REST."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import workflows_v1
from google.cloud.workflows import executions_v1
from google.cloud.workflows.executions_v1.services.executions.transports import (
    ExecutionsGrpcTransport,
)
from google.cloud.workflows_v1.services.workflows.transports import WorkflowsGrpcTransport

from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.http import HttpServer
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi
from saxflow.local.rpc.table import EXECUTIONS, WORKFLOWS
from saxflow.local.workflows.callbacks import MOUNT
from saxflow.local.workflows.definitions import WorkflowsService
from saxflow.local.workflows.executions import ExecutionsService
from saxflow.local.workflows.http import HttpClient

PARENT = "projects/p/locations/us-central1"
State = executions_v1.Execution.State

ECHO = """
main:
  params: [args]
  steps:
    - out: {return: {got: "${args}", id: '${sys.get_env("GOOGLE_CLOUD_WORKFLOW_ID")}'}}
"""
SLEEP = """
main:
  steps:
    - outer: {call: nap}
nap:
  steps:
    - rest: {call: sys.sleep, args: {seconds: 3600}}
"""


class Cloud:
    """Workflows and Executions on both kinds of port, over one data directory."""

    def __init__(self, data: Path, max_active: int = 500) -> None:
        self.http = HttpClient()
        operations, faults = Operations(), Faults()
        self.workflows_service = WorkflowsService(data, RealClock(), operations)
        self.service = ExecutionsService(
            self.workflows_service,
            data,
            RealClock(),
            self.http,
            rest_root=lambda: self.rest.url,
            max_active=max_active,
        )
        hosted = [Hosted(WORKFLOWS, self.workflows_service), Hosted(EXECUTIONS, self.service)]
        self._api = RestApi(
            hosted,
            faults=faults,
            operations=operations,
            mounts={MOUNT: self.service.callback_handler()},
        )
        self.rest = HttpServer(self._api)
        self.rest.start()
        self._grpc = GrpcServer(hosted, faults=faults, operations=operations)
        self._grpc.start()
        self._channel = grpc.insecure_channel(self._grpc.target)
        self.workflows = workflows_v1.WorkflowsClient(
            transport=WorkflowsGrpcTransport(channel=self._channel)
        )
        self.executions = executions_v1.ExecutionsClient(
            transport=ExecutionsGrpcTransport(channel=self._channel)
        )

    def deploy(self, name: str, source: str, **fields: Any) -> workflows_v1.Workflow:
        operation = self.workflows.create_workflow(
            parent=PARENT,
            workflow=workflows_v1.Workflow(source_contents=source, **fields),
            workflow_id=name,
        )
        return operation.result(timeout=60)

    def start(self, workflow: str, argument: Any = None, **fields: Any) -> executions_v1.Execution:
        return self.executions.create_execution(
            parent=f"{PARENT}/workflows/{workflow}",
            execution=executions_v1.Execution(argument=json.dumps(argument), **fields),
            timeout=60,
        )

    def finished(self, execution: executions_v1.Execution) -> executions_v1.Execution:
        self.service.wait(execution.name, 60)
        return self.executions.get_execution(name=execution.name)

    def close(self) -> None:
        self._channel.close()
        self.service.stop()
        self._grpc.stop()
        self._api.stop()
        self.rest.stop()
        self.http.close()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path)
    yield cloud
    cloud.close()


def test_a_workflow_is_deployed_run_and_read_back(cloud: Cloud) -> None:
    workflow = cloud.deploy("echo", ECHO, labels={"a": "b"})
    assert workflow.name == f"{PARENT}/workflows/echo"
    assert workflow.revision_id.startswith("000001-")
    created = cloud.start("echo", {"x": [1, "ü"]}, labels={"deployment": "one"})
    assert created.state == State.ACTIVE
    done = cloud.finished(created)
    assert done.state == State.SUCCEEDED
    assert json.loads(done.result) == {"got": {"x": [1, "ü"]}, "id": "echo"}
    assert done.workflow_revision_id == workflow.revision_id
    assert done.end_time >= done.start_time
    assert json.loads(done.argument) == {"x": [1, "ü"]}


def test_definitions_are_created_once_updated_listed_and_deleted(cloud: Cloud) -> None:
    first = cloud.deploy("one", ECHO, user_env_vars={"COLOUR": "red"})
    cloud.deploy("two", ECHO)
    with pytest.raises(exceptions.AlreadyExists):
        cloud.deploy("one", ECHO)
    changed = workflows_v1.Workflow(name=first.name, source_contents="- a: {return: 7}")
    updated = cloud.workflows.update_workflow(
        workflow=changed, update_mask={"paths": ["source_contents"]}
    ).result(timeout=60)
    assert updated.revision_id.startswith("000002-")
    assert dict(updated.user_env_vars) == {"COLOUR": "red"}
    assert cloud.workflows.get_workflow(name=first.name).source_contents == "- a: {return: 7}"
    old = cloud.workflows.get_workflow(
        workflows_v1.GetWorkflowRequest(name=first.name, revision_id=first.revision_id)
    )
    assert old.source_contents == ECHO
    names = [each.name for each in cloud.workflows.list_workflows(parent=PARENT, timeout=60)]
    assert names == [f"{PARENT}/workflows/one", f"{PARENT}/workflows/two"]
    revisions = cloud.workflows.list_workflow_revisions(
        workflows_v1.ListWorkflowRevisionsRequest(name=first.name)
    )
    assert [each.revision_id for each in revisions] == [updated.revision_id, first.revision_id]
    execution = cloud.finished(cloud.start("one"))
    cloud.workflows.delete_workflow(name=first.name).result(timeout=60)
    with pytest.raises(exceptions.NotFound):
        cloud.workflows.get_workflow(name=first.name)
    with pytest.raises(exceptions.NotFound):
        cloud.executions.get_execution(name=execution.name)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("- a: {cal: http.get}", "unexpected entry 'cal'"),
        ("- a: {next: nowhere}", "does not exist"),
        ("- a: {call: nothing.known}", "no such function"),
        ("main: [", "not YAML"),
        ("", "empty"),
    ],
)
def test_a_source_that_would_not_deploy_is_refused(cloud: Cloud, source: str, part: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=part):
        cloud.deploy("bad", source)


@pytest.mark.parametrize("name", ["", "1a", "a b", "a" * 65])
def test_bad_ids_are_refused(cloud: Cloud, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        cloud.deploy(name, ECHO)


@pytest.mark.parametrize(
    "variables",
    [{"GOOGLE_X": "1"}, {"WORKFLOWS_X": "1"}, {"A": "x" * 5000}, {f"A{n}": "" for n in range(21)}],
)
def test_bad_variables_are_refused(cloud: Cloud, variables: dict[str, str]) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        cloud.deploy("env", ECHO, user_env_vars=variables)


def test_an_error_shows_payload_context_and_trace(cloud: Cloud) -> None:
    cloud.deploy(
        "boom",
        "main:\n  steps:\n    - a: {call: sub}\nsub:\n  steps:\n    - b: {raise: {code: 7, message: no}}\n",
    )
    done = cloud.finished(cloud.start("boom"))
    assert done.state == State.FAILED
    assert json.loads(done.error.payload) == {"code": 7, "message": "no"}
    assert 'in step "b", routine "sub", line: 6' in done.error.context
    steps = [(element.routine, element.step) for element in done.error.stack_trace.elements]
    assert steps == [("sub", "b"), ("main", "a")]


def test_a_result_that_is_not_json_fails_the_execution(cloud: Cloud) -> None:
    cloud.deploy("bytes", '- a:\n    return: ${text.encode("x")}\n')
    done = cloud.finished(cloud.start("bytes"))
    assert done.state == State.FAILED
    assert "TypeError" in done.error.payload


def test_the_running_steps_are_shown_and_cancel_ends_a_sleep_at_once(
    cloud: Cloud, eventually: Callable[..., None]
) -> None:
    cloud.deploy("nap", SLEEP)
    execution = cloud.start("nap")

    def steps() -> list[tuple[str, str]]:
        status = cloud.executions.get_execution(name=execution.name).status
        return [(step.routine, step.step) for step in status.current_steps]

    eventually(lambda: len(steps()) == 2)
    assert steps() == [("main", "outer"), ("nap", "rest")]
    cancelled = cloud.executions.cancel_execution(name=execution.name)
    assert cancelled.state == State.CANCELLED
    assert cloud.finished(execution).state == State.CANCELLED
    with pytest.raises(exceptions.FailedPrecondition):
        cloud.executions.cancel_execution(name=execution.name)
    eventually(lambda: not any(t.name == "execution" for t in threading.enumerate()))


def test_executions_are_listed_newest_first_and_filtered(cloud: Cloud) -> None:
    cloud.deploy("echo", ECHO)
    cloud.deploy("boom", "- a: {raise: no}")
    parent = f"{PARENT}/workflows/echo"
    first = cloud.finished(cloud.start("echo", 1, labels={"deployment": "a"}))
    second = cloud.finished(cloud.start("echo", 2, labels={"deployment": "b"}))
    cloud.finished(cloud.start("boom"))

    def names(**fields: Any) -> list[str]:
        request = executions_v1.ListExecutionsRequest(parent=parent, **fields)
        return [each.name for each in cloud.executions.list_executions(request)]

    assert names() == [second.name, first.name]
    assert names(page_size=1) == [second.name, first.name]
    assert names(order_by="startTime") == [first.name, second.name]
    assert names(filter='labels.deployment="a"') == [first.name]
    assert names(filter='state="SUCCEEDED" AND labels.deployment="b"') == [second.name]
    assert names(filter='state="ACTIVE"') == []
    assert names(filter=f'executionId="{first.name.rpartition("/")[2]}"') == [first.name]
    assert names(filter='startTime > "2000-01-01T00:00:00Z"') == [second.name, first.name]
    with pytest.raises(exceptions.InvalidArgument):
        names(filter="nonsense")
    with pytest.raises(exceptions.InvalidArgument):
        names(filter='colour="red"')


def test_the_list_is_basic_and_get_is_full(cloud: Cloud) -> None:
    cloud.deploy("echo", ECHO)
    done = cloud.finished(cloud.start("echo", 1))
    (listed,) = cloud.executions.list_executions(parent=f"{PARENT}/workflows/echo")
    assert (listed.argument, listed.result) == ("", "")
    assert listed.state == State.SUCCEEDED
    basic = cloud.executions.get_execution(
        executions_v1.GetExecutionRequest(name=done.name, view=executions_v1.ExecutionView.BASIC)
    )
    assert basic.result == ""


def test_arguments_and_labels_are_checked(cloud: Cloud) -> None:
    cloud.deploy("echo", ECHO)
    with pytest.raises(exceptions.InvalidArgument, match="32768"):
        cloud.start("echo", "x" * 33000)
    with pytest.raises(exceptions.InvalidArgument, match="not JSON"):
        cloud.executions.create_execution(
            parent=f"{PARENT}/workflows/echo", execution=executions_v1.Execution(argument="{")
        )
    with pytest.raises(exceptions.InvalidArgument, match="label"):
        cloud.start("echo", labels={"Upper": "x"})
    with pytest.raises(exceptions.NotFound):
        cloud.start("missing")


def test_more_than_fit_are_queued(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path, max_active=1)
    cloud.deploy("nap", SLEEP)
    cloud.deploy("echo", ECHO)
    running, waiting = cloud.start("nap"), cloud.start("echo", 1)
    assert (running.state, waiting.state) == (State.ACTIVE, State.QUEUED)
    cloud.executions.cancel_execution(name=running.name)
    assert cloud.finished(waiting).state == State.SUCCEEDED
    cloud.start("nap")
    never = cloud.start("nap")
    assert cloud.executions.cancel_execution(name=never.name).state == State.CANCELLED
    queued = cloud.start("nap")
    cloud.close()
    cloud = Cloud(tmp_path)
    assert cloud.executions.get_execution(name=queued.name).state == State.FAILED
    cloud.close()


def test_a_restart_keeps_what_ended_and_fails_what_ran(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    cloud.deploy("nap", SLEEP, user_env_vars={"A": "1"})
    cloud.deploy("echo", ECHO)
    running, ended = cloud.start("nap"), cloud.finished(cloud.start("echo", 1))
    cloud.close()
    cloud = Cloud(tmp_path)
    lost = cloud.executions.get_execution(name=running.name)
    assert lost.state == State.FAILED
    assert json.loads(lost.error.payload)["message"] == "local cloud restarted"
    assert cloud.executions.get_execution(name=ended.name).result == ended.result
    kept = cloud.workflows.get_workflow(name=f"{PARENT}/workflows/nap")
    assert dict(kept.user_env_vars) == {"A": "1"}
    cloud.close()


@dataclass
class Answer:
    code: int
    value: Any


def call(method: str, url: str, value: Any = None) -> Answer:
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.load(error))


def test_the_same_over_rest(cloud: Cloud) -> None:
    root = f"{cloud.rest.url}/v1/{PARENT}/workflows"
    created = call("POST", f"{root}?workflowId=echo", {"sourceContents": ECHO})
    assert created.value["done"] is True
    assert created.value["response"]["name"] == f"{PARENT}/workflows/echo"
    started = call("POST", f"{root}/echo/executions", {"argument": '{"a": 1}'})
    assert started.value["state"] == "ACTIVE"
    cloud.service.wait(started.value["name"], 60)
    done = call("GET", f"{cloud.rest.url}/v1/{started.value['name']}").value
    assert json.loads(done["result"])["got"] == {"a": 1}
    assert call("GET", f"{root}/echo/executions").value["executions"][0]["name"] == done["name"]
    assert call("GET", f"{root}/none").code == 404


CALLBACK = """
main:
  steps:
    - open: {call: events.create_callback_endpoint, args: {http_callback_method: POST}, result: cb}
    - tell: {call: sys.log, args: {text: "${cb.url}"}}
    - wait:
        try: {call: events.await_callback, args: {callback: "${cb}", timeout: 600}, result: got}
        except: {as: e, steps: [{out: {return: "${e.tags}"}}]}
    - out: {return: {body: "${got.http_request.body}", query: "${got.http_request.query}"}}
"""


@pytest.fixture
def logged_url(tmp_path: Path, eventually: Callable[..., None]) -> Callable[..., str]:
    """Return a function that waits for the callback URL which an Execution logs."""

    def read(execution: executions_v1.Execution) -> str:
        log = tmp_path / execution.name / "log.jsonl"
        eventually(lambda: log.exists() and log.read_text().endswith("\n"))
        return json.loads(log.read_text())["textPayload"]

    return read


def test_a_callback_reaches_the_execution(cloud: Cloud, logged_url: Callable[..., str]) -> None:
    cloud.deploy("back", CALLBACK)
    execution = cloud.start("back")
    url = logged_url(execution)
    assert url.startswith(f"{cloud.rest.url}{MOUNT}/v1/{execution.name}/callbacks/")
    assert call("PUT", url, {}).code == 405
    assert call("POST", f"{url}?k=v", {"n": 5}).code == 200
    done = cloud.finished(execution)
    assert json.loads(done.result) == {"body": {"n": 5}, "query": {"k": "v"}}
    assert call("POST", url, {}).code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_callbacks_take_every_method_of_the_service(
    cloud: Cloud, logged_url: Callable[..., str], method: str
) -> None:
    cloud.deploy("back", CALLBACK.replace("POST", method))
    execution = cloud.start("back")
    request = urllib.request.Request(f"{logged_url(execution)}?k=v", method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    assert json.loads(cloud.finished(execution).result) == {"body": None, "query": {"k": "v"}}
