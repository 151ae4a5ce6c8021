from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.api_core import exceptions
from google.cloud.workflows import executions_v1
from google.protobuf import timestamp_pb2

from saxflow.local.workflows.listing import ordered, parse_filter

State = executions_v1.Execution.State


def execution(second: int = 0) -> executions_v1.Execution:
    start = timestamp_pb2.Timestamp()
    start.FromDatetime(datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC))
    return executions_v1.Execution(
        name=f"projects/p/locations/l/workflows/w/executions/e{second}",
        state=State.FAILED,
        labels={"deployment": "llama2-7b", "note": 'a "b" AND c'},
        workflow_revision_id="000001-abc",
        start_time=start,
    )


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ('state="FAILED"', True),
        ("state=FAILED", True),
        ('state != "FAILED"', False),
        ('labels.deployment = "llama2-7b" AND state="FAILED"', True),
        ('label.deployment:"llama2-7b"', True),
        ('labels.missing="x"', False),
        ('labels.note="a \\"b\\" AND c"', True),
        ('executionId="e0"', True),
        ('workflowRevisionId="000002-abc"', False),
        ('startTime>"2025-12-31T00:00:00Z" AND startTime<"2026-01-02T00:00:00Z"', True),
        ('startTime >= "2026-01-02T00:00:00Z"', False),
        ('startTime >= "2026-01-01T00:00:00"', True),
        ('startTime > "2026-01-01"', False),
        ('endTime > "2000-01-01T00:00:00Z"', False),
    ],
)
def test_filters(text: str, passes: bool) -> None:
    assert parse_filter(text)(execution()) is passes


@pytest.mark.parametrize(
    "text",
    [
        "state",
        'state="A" OR state="B"',
        'state="A" AND',
        'state > "A"',
        'startTime > "yesterday"',
        'startTime = "2026-01-01T00:00:00Z"',
        'colour="red"',
        'labels.="x"',
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        parse_filter(text)


def test_orders() -> None:
    given = [execution(1), execution(2)]
    assert ordered(given, "") == given[::-1]
    assert ordered(given, "createTime desc") == given[::-1]
    assert ordered(given, "startTime") == given
    for text in ("state", "startTime up"):
        with pytest.raises(exceptions.InvalidArgument):
            ordered(given, text)
