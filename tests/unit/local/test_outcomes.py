"""Armed outcomes: hold, fail, preempt, quota."""

from __future__ import annotations

import threading

import pytest

from saxflow.errors import InputError
from saxflow.local.outcomes import Outcomes


def test_outcome_strikes_matching_names_as_often_as_armed():
    outcomes = Outcomes()
    outcomes.arm("fail", contains="/sf-a", count=2, message="stockout")
    assert outcomes.take("fail", "p/sf-b") is None
    assert outcomes.take("preempt", "p/sf-a") is None
    assert [outcomes.take("fail", "p/sf-a") is not None for _ in range(3)] == [True, True, False]
    assert outcomes.armed()[0]["taken"] == 2


def test_count_none_is_for_ever():
    outcomes = Outcomes()
    outcomes.arm("quota", count=None)
    assert all(outcomes.take("quota", "x") for _ in range(10))


def test_hold_lasts_until_released():
    outcomes = Outcomes()
    outcomes.arm("hold", contains="sf-a")
    outcomes.arm("hold", contains="sf-b")
    assert outcomes.held("sf-a")
    outcomes.release("sf-a")
    assert not outcomes.held("sf-a")
    assert outcomes.held("sf-b")
    outcomes.release()
    assert not outcomes.held("sf-b")


def test_waiting_ends_with_release():
    outcomes = Outcomes()
    outcomes.arm("hold")
    ended: list[bool] = []
    waiter = threading.Thread(
        target=lambda: ended.append(outcomes.wait_released("x", threading.Event()))
    )
    waiter.start()
    outcomes.release()
    waiter.join(60)
    assert ended == [True]


def test_waiting_ends_with_cancellation():
    outcomes, cancelled = Outcomes(), threading.Event()
    outcomes.arm("hold")
    ended: list[bool] = []
    waiter = threading.Thread(target=lambda: ended.append(outcomes.wait_released("x", cancelled)))
    waiter.start()
    cancelled.set()
    outcomes.wake()
    waiter.join(60)
    assert ended == [False]


def test_clear_disarms_everything():
    outcomes = Outcomes()
    outcomes.arm("hold")
    outcomes.arm("fail")
    outcomes.clear()
    assert outcomes.armed() == []
    assert not outcomes.held("x")


@pytest.mark.parametrize(("kind", "when"), [("explode", {}), ("fail", {"often": 2})])
def test_unknown_kind_or_argument_is_refused(kind, when):
    with pytest.raises(InputError, match=kind):
        Outcomes().arm(kind, **when)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contains", 5), ("count", 0), ("count", "2"), ("count", True), ("after_seconds", -1),
        ("after_seconds", "1"), ("after_seconds", float("inf")), ("message", None),
    ],
)  # fmt: skip
def test_senseless_values_are_refused(field, value):
    outcomes = Outcomes()
    with pytest.raises(InputError, match=f"outcome 'hold': {field} {value!r} makes no sense"):
        outcomes.arm("hold", **{field: value})
    assert outcomes.armed() == []
