"""Following ends with the newest attempt, however much of the log is there at the first look."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from saxflow.events import Event
from saxflow.pipeline.follow import follow
from saxflow.pipeline.services import Services

Say = Callable[..., Event]


def test_a_whole_log_is_yielded_in_order(services: Services, say: Say) -> None:
    told = [say("manifest.accepted", "over"), say("deployment.failed", "over", at=1)]
    assert list(follow(services, "over")) == told


def test_events_arrive_as_they_are_logged(services: Services, say: Say) -> None:
    first = say("manifest.accepted", "live")
    stream = follow(services, "live")
    assert next(stream) == first
    second = say("conversion.started", "live", at=1)
    assert next(stream) == second
    third = say("model.serving", "live", at=2)
    assert list(stream) == [third]


def test_an_end_of_an_earlier_attempt_is_no_end(services: Services, say: Say) -> None:
    told = [
        say("model.serving", "second"),
        say("tpu.preempted", "second", at=1),
        say("manifest.accepted", "second", at=2, attempt=2),
    ]
    stream = follow(services, "second")
    assert [next(stream) for _ in told] == told
    last = say("deployment.failed", "second", at=3, attempt=2)
    assert list(stream) == [last]


def test_a_teardown_of_what_served_is_followed_to_its_end(services: Services, say: Say) -> None:
    told = [say("model.serving", "torn"), say("deployment.deleting", "torn", at=1)]
    stream = follow(services, "torn")
    assert [next(stream) for _ in told] == told
    last = say("deployment.deleted", "torn", at=2)
    assert list(stream) == [last]


def test_older_generations_are_passed_over(services: Services, say: Say) -> None:
    say("deployment.failed", "newer", generation="1000")
    ended = say("manifest.rejected", "newer", generation="1001")
    assert list(follow(services, "newer", after="1000")) == [ended]


def test_a_newer_generation_takes_over(services: Services, say: Say) -> None:
    first = say("manifest.accepted", "taken", generation="1000")
    stream = follow(services, "taken")
    assert next(stream) == first
    told = [
        say("manifest.accepted", "taken", generation="1001", at=1),
        say("model.serving", "taken", generation="1001", at=2),
    ]
    assert list(stream) == told


def test_the_deadline_ends_the_wait(services: Services) -> None:
    assert list(follow(services, "silent", deadline=time.monotonic())) == []


def test_many_may_follow(services: Services, say: Say) -> None:
    seen: list[list[Event]] = [[], []]
    watchers = [
        threading.Thread(target=lambda into=into: into.extend(follow(services, "many")))
        for into in seen
    ]
    for watcher in watchers:
        watcher.start()
    told = [say("manifest.accepted", "many"), say("model.serving", "many", at=1)]
    for watcher in watchers:
        watcher.join()
    assert seen == [told, told]
