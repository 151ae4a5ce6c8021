"""Helpers over proto-plus messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.cloud import batch_v1

from saxflow.local.messages import copied, seconds, since, timestamp


def test_copy_is_deep():
    job = batch_v1.Job(labels={"a": "b"})
    copy = copied(job)
    copy.labels["a"] = "c"
    assert job.labels["a"] == "b"


def test_seconds_of_set_and_unset_durations():
    spec = batch_v1.TaskSpec(max_run_duration=timedelta(seconds=1.5))
    assert seconds(spec.max_run_duration) == 1.5
    assert seconds(batch_v1.TaskSpec().max_run_duration) == 0.0


def test_time_goes_over_the_wire_and_back():
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    job = batch_v1.Job(create_time=timestamp(moment))
    assert job.create_time == moment
    assert since(job.create_time, moment + timedelta(seconds=2)).seconds == 2
    assert since(None, moment).seconds == 0
