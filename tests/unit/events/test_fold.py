"""Any order of any events folds to one status."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow import events
from saxflow.events import Event

from .samples import event, random_events


def timeline(*names: str, generation: str = "7", attempt: int = 1, start: float = 0) -> list[Event]:
    return [
        event(name, start + second, generation=generation, attempt=attempt)
        for second, name in enumerate(names)
    ]


JOURNEY = (
    "manifest.accepted",
    "conversion.started",
    "tpu.requested",
    "tpu.waiting",
    "conversion.finished",
    "checkpoint.committed",
    "tpu.active",
    "sax.starting",
    "sax.ready",
    "model.publishing",
    "model.loading",
    "model.published",
    "model.serving",
)


@given(
    st.lists(random_events, max_size=12).flatmap(
        lambda e: st.tuples(st.just(e), st.permutations(e + e[: len(e) // 2]))
    )
)
def test_fold_ignores_order_and_repetition(both: tuple[list[Event], list[Event]]) -> None:
    assert events.fold(both[0]) == events.fold(both[1])


def test_nothing_folds_to_unknown() -> None:
    status = events.fold([])
    assert (status.state, status.serving) == ("unknown", None)


@pytest.mark.parametrize(
    ("length", "state"),
    [
        (1, "accepted"),
        (2, "converting"),
        (5, "converting"),
        (6, "provisioning"),
        (7, "starting"),
        (9, "starting"),
        (10, "publishing"),
        (12, "loading"),
        (13, "serving"),
    ],
)
def test_the_journey(length: int, state: str) -> None:
    status = events.fold(timeline(*JOURNEY[:length]))
    assert status.state == state
    assert status.state in events.STATES


def test_the_end_of_the_journey() -> None:
    status = events.fold(timeline(*JOURNEY))
    assert status.serving == {
        "generation": "7",
        "attempt": 1,
        "model": None,
        "since": "2026-01-01T00:00:12.000Z",
    }
    assert status.since == "2026-01-01T00:00:12.000Z"
    assert json.loads(json.dumps(status.to_json()))["state"] == "serving"


def test_a_tpu_that_is_active_before_the_checkpoint() -> None:
    names = ("conversion.started", "tpu.requested", "tpu.active", "checkpoint.committed")
    assert events.fold(timeline(*names[:3])).state == "converting"
    assert events.fold(timeline(*names)).state == "starting"


def test_a_tpu_given_back_while_converting_has_to_come_again() -> None:
    names = ("conversion.started", "tpu.active", "tpu.requested", "checkpoint.committed")
    assert events.fold(timeline(*names)).state == "provisioning"


def test_progress_lasts_as_long_as_the_conversion() -> None:
    progress = {"bytes_done": 1, "bytes_total": 2}
    started = event("conversion.started", 0)
    moved = event("conversion.progressed", 1, number=1, progress=progress)
    assert events.fold([started, moved]).progress == progress
    assert events.fold([started, moved, event("checkpoint.committed", 2)]).progress is None


def test_since_is_when_the_state_began() -> None:
    log = [event("conversion.started", 1), event("conversion.progressed", 9, number=1)]
    status = events.fold(log)
    assert (status.since, status.updated) == (
        "2026-01-01T00:00:01.000Z",
        "2026-01-01T00:00:09.000Z",
    )


def test_a_failure_is_carried() -> None:
    failed = {"stage": "conversion", "reason": "consolidated.01.pth is missing"}
    status = events.fold([*timeline(*JOURNEY[:3]), event("deployment.failed", 9, failure=failed)])
    assert (status.state, status.failure) == ("failed", failed)


def test_a_rejected_successor_leaves_what_serves() -> None:
    log = [
        *timeline(*JOURNEY),
        event("manifest.rejected", 99, generation="8", problems=[{"path": "name"}]),
    ]
    status = events.fold(log)
    assert status.state == "rejected"
    assert status.problems == ({"path": "name"},)
    assert status.serving is not None
    assert status.serving["generation"] == "7"


def test_a_successor_takes_over() -> None:
    log = [*timeline(*JOURNEY), *timeline(*JOURNEY, generation="10", start=50)]
    status = events.fold(log)
    assert status.serving is not None
    assert status.serving["generation"] == "10"


@pytest.mark.parametrize(
    ("name", "state"), [("tpu.preempted", "preempted"), ("deployment.deleted", "deleted")]
)
def test_nothing_serves_after(name: str, state: str) -> None:
    status = events.fold([*timeline(*JOURNEY), event(name, 99)])
    assert (status.state, status.serving) == (state, None)


def test_a_late_acceptance_does_not_turn_back() -> None:
    log = [event("manifest.accepted", 5), event("conversion.started", 4)]
    assert events.fold(log).state == "converting"


def test_a_new_attempt_starts_afresh() -> None:
    failed = [*timeline(*JOURNEY[:2]), event("deployment.failed", 5, failure={"stage": "tpu"})]
    status = events.fold([*failed, event("conversion.reused", 9, attempt=2)])
    assert (status.state, status.failure, status.attempt) == ("provisioning", None, 2)


def test_sax_may_start_while_the_conversion_runs() -> None:
    names = ("conversion.started", "tpu.active", "sax.starting", "conversion.finished")
    assert events.fold(timeline(*names[:3])).state == "converting"
    assert events.fold(timeline(*names)).state == "converting"
    assert events.fold(timeline(*names, "checkpoint.committed")).state == "starting"


def test_a_reused_checkpoint_is_a_committed_one() -> None:
    names = ("manifest.accepted", "conversion.reused", "conversion.finished", "tpu.requested")
    assert events.fold(timeline(*names)).state == "provisioning"
    assert events.fold(timeline(*names, "tpu.active")).state == "starting"
    assert events.fold(timeline("tpu.active", *names[:3])).state == "starting"


def test_a_subscriber_that_missed_the_tpu() -> None:
    assert events.fold(timeline("checkpoint.committed", "sax.ready")).state == "starting"
