from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from google.api_core import exceptions
from google.cloud import workflows_v1
from google.cloud.workflows import executions_v1

from saxflow.local.workflows.failures import Place, WorkflowFailure
from saxflow.local.workflows.records import (
    ARGUMENT_LIMIT_BYTES,
    basic_view,
    check_labels,
    checked_argument,
    environment,
    error_of,
    from_record,
    started,
)

NAME = "projects/p/locations/l/workflows/w/executions/e"


def test_the_environment_names_the_execution() -> None:
    definition = workflows_v1.Workflow(revision_id="000001-abc", user_env_vars={"A": "1"})
    known = environment(NAME, definition)
    assert known["A"] == "1"
    assert known["GOOGLE_CLOUD_PROJECT_ID"] == "p"
    assert known["GOOGLE_CLOUD_LOCATION"] == "l"
    assert known["GOOGLE_CLOUD_WORKFLOW_ID"] == "w"
    assert known["GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID"] == "e"
    assert known["GOOGLE_CLOUD_WORKFLOW_REVISION_ID"] == "000001-abc"


def test_arguments_are_json_of_a_bounded_size() -> None:
    assert checked_argument('{"a": 1}') == {"a": 1}
    assert checked_argument("") is None
    assert len(checked_argument(json.dumps("x" * (ARGUMENT_LIMIT_BYTES - 2)))) > 30_000
    for text in ("{", json.dumps("x" * ARGUMENT_LIMIT_BYTES)):
        with pytest.raises(exceptions.InvalidArgument):
            checked_argument(text)


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"1a": "x"},
        {"A": "x"},
        {"a": "X"},
        {"a" * 64: ""},
        {f"a{n}": "" for n in range(65)},
    ],
)
def test_bad_labels_are_refused(labels: dict[str, str]) -> None:
    check_labels({"a-b_1": ""})
    with pytest.raises(exceptions.InvalidArgument):
        check_labels(labels)


def test_errors_carry_payload_context_and_trace() -> None:
    places = [Place("sub", "b", 6), Place("main", "a", 3)]
    error = error_of(WorkflowFailure({"message": "no"}, places))
    assert json.loads(error.payload) == {"message": "no"}
    assert error.context == 'no\nin step "b", routine "sub", line: 6'
    assert [element.position.line for element in error.stack_trace.elements] == [6, 3]
    assert json.loads(error_of(WorkflowFailure({"message": b"x"})).payload)


def test_the_basic_view_leaves_values_out() -> None:
    full = executions_v1.Execution(name=NAME, argument="1", result="2", error={"payload": "3"})
    basic = basic_view(full)
    assert (basic.name, basic.argument, basic.result) == (NAME, "", "")
    assert "error" not in basic
    assert full.result == "2"


def test_records_are_read_back() -> None:
    execution = from_record({"name": NAME, "startTime": "2026-01-01T00:00:00Z"})
    assert started(execution) == datetime(2026, 1, 1, tzinfo=UTC)
    assert started(from_record({"name": NAME})).year == 1
