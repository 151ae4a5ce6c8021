"""Pauses, deadlines and patience."""

from __future__ import annotations

import asyncio
import random
from itertools import islice

import pytest

from saxflow.errors import DeadlineError, SaxError
from saxflow.sax.pace import Pace, pauses

BUSY = SaxError("busy", code="RESOURCE_EXHAUSTED", retryable=True)


class Middle(random.Random):
    """Chance that always lands in the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_pauses_grow_from_ten_milliseconds_to_a_second() -> None:
    steps = list(islice(pauses(Middle()), 30))
    assert steps[:3] == pytest.approx([0.01, 0.015, 0.0225])
    assert steps[-1] == 1.0


def test_pauses_vary_by_half() -> None:
    first = [next(pauses(random.Random(seed))) for seed in range(50)]
    assert 0.005 <= min(first) < 0.008 < 0.012 < max(first) <= 0.015


def test_a_final_error_is_raised_at_once() -> None:
    final = SaxError("no", code="INTERNAL")
    with pytest.raises(SaxError) as caught:
        asyncio.run(Pace("x", deadline_seconds=None).after(final))
    assert caught.value is final


def test_a_retryable_one_waits() -> None:
    pace = Pace("x", deadline_seconds=5, source=Middle())
    asyncio.run(pace.after(BUSY))
    assert pace.left_seconds is not None
    assert pace.left_seconds <= 5 - 0.009


def test_without_time_for_another_try_the_deadline_is_told_with_the_last_words() -> None:
    with pytest.raises(DeadlineError, match=r"Generate: no answer within 0\.001 s; last: busy"):
        asyncio.run(Pace("Generate", deadline_seconds=0.001, source=Middle()).after(BUSY))


def test_patience_ends_with_the_error_itself() -> None:
    with pytest.raises(SaxError) as caught:
        asyncio.run(Pace("x", deadline_seconds=9, patience_seconds=0).after(BUSY))
    assert caught.value is BUSY


def test_without_deadline_time_never_ends() -> None:
    assert Pace("x", deadline_seconds=None).left_seconds is None
