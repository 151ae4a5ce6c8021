"""Filters and orders of `executions.list`.

A filter is a conjunction: `state="FAILED" AND labels.deployment="llama2-7b"`.

Source: https://cloud.google.com/workflows/docs/reference/executions/rest/v1/projects.locations.workflows.executions/list
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from google.api_core import exceptions
from google.cloud.workflows import executions_v1

Test = Callable[[executions_v1.Execution], bool]

_TERM = re.compile(r"\s*([\w.-]+)\s*(<=|>=|!=|=|:|<|>)\s*(\"(?:[^\"\\]|\\.)*\"|[^\s\"]+)\s*")
_AND = re.compile(r"\s+AND\s+")
_COMPARISONS: dict[str, Callable[[object, object], bool]] = {
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
}
_ORDERED: dict[str, Callable[[datetime, datetime], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMES = {"createTime": "start_time", "startTime": "start_time", "endTime": "end_time"}


def parse_filter(text: str) -> Test:
    """Return the test that a filter stands for; an empty one lets everything pass.

    Raises:
        InvalidArgument: it is not a conjunction of known comparisons.
    """
    if not text.strip():
        return lambda _: True
    tests: list[Test] = []
    position = 0
    while True:
        match = _TERM.match(text, position)
        if match is None:
            raise exceptions.InvalidArgument(f"filter {text!r}: a comparison was expected")
        tests.append(_test(*match.groups()))
        position = match.end()
        if position == len(text):
            return lambda execution: all(test(execution) for test in tests)
        joint = _AND.match(text, position - 1)
        if joint is None:
            raise exceptions.InvalidArgument(f"filter {text!r}: only AND joins comparisons here")
        position = joint.end()


def _test(field: str, symbol: str, literal: str) -> Test:
    value = literal[1:-1].replace('\\"', '"') if literal.startswith('"') else literal
    if field in _TIMES:
        return _time_test(_TIMES[field], symbol, value)
    if symbol not in _COMPARISONS:
        raise exceptions.InvalidArgument(
            f"filter: {field} cannot be compared by {symbol}; use {', '.join(_COMPARISONS)}"
        )
    compare, read = _COMPARISONS[symbol], _reader(field)
    return lambda execution: compare(read(execution), value)


def _reader(field: str) -> Callable[[executions_v1.Execution], str | None]:
    scope, _, key = field.partition(".")
    if scope in ("label", "labels") and key:
        return lambda execution: execution.labels.get(key)
    known: dict[str, Callable[[executions_v1.Execution], str | None]] = {
        "state": lambda execution: execution.state.name,
        "executionId": lambda execution: execution.name.rpartition("/")[2],
        "workflowRevisionId": lambda execution: execution.workflow_revision_id,
    }
    if field not in known:
        raise exceptions.InvalidArgument(
            f"filter: unknown field {field!r}; use {', '.join([*known, *_TIMES])} or labels.KEY"
        )
    return known[field]


def _time_test(field: str, symbol: str, value: str) -> Test:
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        compare = _ORDERED[symbol]
    except (KeyError, ValueError):
        raise exceptions.InvalidArgument(
            f"filter: {field} {symbol} {value!r}; compare by {', '.join(_ORDERED)} with a time such"
            ' as "2026-01-31T00:00:00Z"'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)

    def test(execution: executions_v1.Execution) -> bool:
        actual = getattr(execution, field)
        return isinstance(actual, datetime) and compare(actual, moment)

    return test


def ordered(
    executions: Sequence[executions_v1.Execution], order_by: str
) -> list[executions_v1.Execution]:
    """Return executions (given oldest first) in an order, the newest first by default.

    Raises:
        InvalidArgument: another order than by startTime or createTime was asked for.
    """
    words = order_by.split()
    if words and (
        words[0] not in ("startTime", "createTime") or words[1:] not in ([], ["desc"], ["asc"])
    ):
        raise exceptions.InvalidArgument(
            f"order_by {order_by!r}; use startTime or createTime [desc]"
        )
    newest_first = not words or words[1:] == ["desc"]
    return list(reversed(executions)) if newest_first else list(executions)
