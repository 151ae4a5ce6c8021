"""The services as plain classes, in virtual time; Google's clients judge them in tests/contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import workflows_v1
from google.cloud.workflows import executions_v1

from saxflow.local.clock import VirtualClock
from saxflow.local.rpc.operations import Operations
from saxflow.local.workflows.definitions import WorkflowsService
from saxflow.local.workflows.executions import ExecutionsService
from saxflow.local.workflows.http import HttpClient

PARENT = "projects/p/locations/l"
State = executions_v1.Execution.State


class Services:
    def __init__(self, data: Path) -> None:
        self.clock = VirtualClock(1000.0, auto=True)
        self.http = HttpClient()
        self.workflows = WorkflowsService(data, self.clock, Operations())
        self.executions = ExecutionsService(self.workflows, data, self.clock, self.http)

    def run(self, source: str, argument: Any = None) -> executions_v1.Execution:
        self.workflows.create_workflow(
            workflows_v1.CreateWorkflowRequest(
                parent=PARENT,
                workflow_id="w",
                workflow=workflows_v1.Workflow(source_contents=source),
            )
        )
        execution = self.executions.create_execution(
            executions_v1.CreateExecutionRequest(
                parent=f"{PARENT}/workflows/w",
                execution=executions_v1.Execution(argument=json.dumps(argument)),
            )
        )
        return self.executions.wait(execution.name, 10)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = Services(tmp_path)
    yield services
    services.executions.stop()
    services.http.close()


def test_a_month_of_waiting_takes_no_time(services: Services) -> None:
    source = """
    - init: {assign: [{n: 0}]}
    - nap: {call: sys.sleep, args: {seconds: 86400}}
    - count: {assign: [{n: "${n + 1}"}]}
    - more: {switch: [{condition: "${n < 30}", next: nap}]}
    - out: {return: "${n}"}
    """
    done = services.run(source)
    assert (done.state, done.result) == (State.SUCCEEDED, "30")
    assert done.duration.total_seconds() == 30 * 86400


def test_a_callback_that_never_comes_is_a_timeout(services: Services) -> None:
    source = """
    - open: {call: events.create_callback_endpoint, result: cb}
    - wait: {call: events.await_callback, args: {callback: "${cb}"}}
    """
    done = services.run(source)
    assert done.state == State.FAILED
    assert json.loads(done.error.payload)["tags"] == ["TimeoutError"]
    assert services.clock.time() == 1000 + 43_200


def test_sys_log_goes_to_a_file_of_the_execution(services: Services, tmp_path: Path) -> None:
    done = services.run('- a: {call: sys.log, args: {json: {k: "ü"}, severity: ERROR}}\n')
    (line,) = (tmp_path / done.name / "log.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "severity": "ERROR",
        "timestamp": "1970-01-01T00:16:40+00:00",
        "jsonPayload": {"k": "ü"},
    }


def test_waiting_gives_up_after_its_time(services: Services) -> None:
    with pytest.raises(exceptions.NotFound):
        services.executions.wait(f"{PARENT}/workflows/w/executions/none", 0.01)


def test_a_new_revision_runs_only_new_executions(services: Services) -> None:
    first = services.run("- a: {return: 1}\n")
    services.workflows.update_workflow(
        workflows_v1.UpdateWorkflowRequest(
            workflow=workflows_v1.Workflow(
                name=f"{PARENT}/workflows/w", source_contents="- a: {return: 2}\n"
            )
        )
    )
    second = services.executions.create_execution(
        executions_v1.CreateExecutionRequest(parent=f"{PARENT}/workflows/w")
    )
    second = services.executions.wait(second.name, 10)
    assert (first.result, second.result) == ("1", "2")
    assert first.workflow_revision_id < second.workflow_revision_id
    assert services.workflows.current(f"{PARENT}/workflows/w").revision_id.startswith("000002")
