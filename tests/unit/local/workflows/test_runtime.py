from __future__ import annotations

import logging

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows.failures import Cancelled
from saxflow.local.workflows.http import HttpClient
from saxflow.local.workflows.runtime import Cancellation, Runtime, log_entry


def test_cancellation_closes_what_is_waited_for_and_only_that() -> None:
    cancellation, closed = Cancellation(), []
    with cancellation.breaking(lambda: closed.append("early")):
        cancellation.check()
    with pytest.raises(Cancelled), cancellation.breaking(lambda: closed.append("late")):
        cancellation.cancel()
    assert closed == ["late"]
    with pytest.raises(Cancelled):
        cancellation.check()


def test_nothing_begins_after_cancellation() -> None:
    cancellation, begun = Cancellation(), []
    cancellation.cancel()
    with pytest.raises(Cancelled), cancellation.breaking(lambda: None):
        begun.append(1)
    assert begun == []


def test_sleeping_follows_the_clock_until_cancelled() -> None:
    clock, http = VirtualClock(0.0, auto=True), HttpClient()
    runtime = Runtime(clock, http)
    runtime.sleep(60)
    assert clock.time() == 60
    runtime.cancellation.cancel()
    with pytest.raises(Cancelled):
        runtime.sleep(60)
    http.close()


def test_log_entries_reach_the_process_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "saxflow.local.workflows"):
        log_entry("WARNING", {"a": 1})
        log_entry("NOTICE", "text")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
