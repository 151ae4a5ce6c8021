"""The services as plain classes, in virtual time; Google's clients judge them in tests/contract."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
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


class MeddledClock(VirtualClock):
    """Does things behind the back of who looks at it, once."""

    def __init__(self) -> None:
        super().__init__(1000.0, auto=True)
        self.when_looked_at: Callable[[], object] = lambda: None
        self.when_sleeping: Callable[[], object] = lambda: None

    def now(self) -> datetime:
        act, self.when_looked_at = self.when_looked_at, lambda: None
        act()
        return super().now()

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        self.when_sleeping()
        return super().sleep(seconds, cancel)


class Services:
    def __init__(self, data: Path) -> None:
        self.clock = MeddledClock()
        self.http = HttpClient()
        self.workflows = WorkflowsService(data, self.clock, Operations())
        self.executions = ExecutionsService(self.workflows, data, self.clock, self.http)

    def deploy(self, source: str, **fields: Any) -> None:
        self.workflows.create_workflow(
            workflows_v1.CreateWorkflowRequest(
                parent=PARENT,
                workflow_id="w",
                workflow=workflows_v1.Workflow(source_contents=source, **fields),
            )
        )

    def delete(self) -> None:
        self.workflows.delete_workflow(
            workflows_v1.DeleteWorkflowRequest(name=f"{PARENT}/workflows/w")
        )

    def start(self, argument: Any = None, **fields: Any) -> executions_v1.Execution:
        return self.executions.create_execution(
            executions_v1.CreateExecutionRequest(
                parent=f"{PARENT}/workflows/w",
                execution=executions_v1.Execution(argument=json.dumps(argument), **fields),
            )
        )

    def listed(self) -> list[executions_v1.Execution]:
        request = executions_v1.ListExecutionsRequest(parent=f"{PARENT}/workflows/w")
        return list(self.executions.list_executions(request).executions)

    def run(self, source: str, argument: Any = None) -> executions_v1.Execution:
        self.deploy(source)
        return self.executions.wait(self.start(argument).name, 60)


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
    second = services.executions.wait(services.start().name, 60)
    assert (first.result, second.result) == ("1", "2")
    assert first.workflow_revision_id < second.workflow_revision_id
    assert services.workflows.current(f"{PARENT}/workflows/w").revision_id.startswith("000002")


ONE = "- a: {return: 1}\n"
NAP = "- a: {call: sys.sleep, args: {seconds: 60}}\n"


def test_no_execution_outlives_a_workflow_deleted_meanwhile(
    services: Services, tmp_path: Path
) -> None:
    services.deploy(ONE)
    services.clock.when_looked_at = services.delete
    with pytest.raises(exceptions.NotFound):
        services.start()
    assert list(tmp_path.rglob("execution.json")) == []
    services.deploy(ONE)
    assert services.listed() == []


def test_nothing_begins_once_stopped(services: Services) -> None:
    services.deploy(ONE)
    services.executions.stop()
    waiting = services.start()
    assert services.executions.wait(waiting.name, 0.0).state == State.QUEUED
    assert not any(thread.name == "execution" for thread in threading.enumerate())


def test_stopping_waits_for_what_was_cancelled_just_before(services: Services) -> None:
    asleep, gate = threading.Event(), threading.Event()

    def oversleep() -> None:
        asleep.set()
        gate.wait(60)

    services.clock.when_sleeping = oversleep
    services.deploy(NAP)
    execution = services.start()
    assert asleep.wait(60)
    services.executions.cancel_execution(executions_v1.CancelExecutionRequest(name=execution.name))
    waking = threading.Timer(0.1, gate.set)
    waking.start()
    services.executions.stop()
    assert not any(thread.name == "execution" for thread in threading.enumerate())
    waking.join()


def test_what_cannot_be_kept_is_not_begun(services: Services, tmp_path: Path) -> None:
    services.deploy(ONE)
    in_the_way = tmp_path / PARENT / "workflows/w/executions"
    in_the_way.write_text("")
    with pytest.raises(OSError, match="executions"):
        services.start()
    assert services.listed() == []
    in_the_way.unlink()
    assert services.executions.wait(services.start().name, 60).state == State.SUCCEEDED
    assert len(services.listed()) == 1


def test_labels_of_the_workflow_are_inherited(services: Services) -> None:
    services.deploy(ONE, labels={"team": "a", "stage": "test"})
    execution = services.start(labels={"stage": "live", "deployment": "x"})
    assert dict(execution.labels) == {"team": "a", "stage": "live", "deployment": "x"}


@pytest.mark.parametrize(
    ("view", "asked", "given"),
    [("BASIC", 0, 100), ("BASIC", 1000, 102), ("FULL", 1000, 100), ("FULL", 5, 5)],
)
def test_pages_are_as_long_as_the_services(
    services: Services, view: str, asked: int, given: int
) -> None:
    services.deploy(ONE)
    for _ in range(102):
        services.start()
    request = executions_v1.ListExecutionsRequest(
        parent=f"{PARENT}/workflows/w", view=executions_v1.ExecutionView[view], page_size=asked
    )
    assert len(services.executions.list_executions(request).executions) == given
