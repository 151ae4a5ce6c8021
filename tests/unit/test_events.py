"""Events are CloudEvents, travel both ways, and fold to one status in any order."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from cloudevents.conversion import to_json
from cloudevents.http import from_json as parse_cloudevent
from hypothesis import given
from hypothesis import strategies as st

from saxflow import events
from saxflow.errors import ProtocolError
from saxflow.events import TYPES, Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    name: str,
    second: float = 0,
    *,
    generation: str = "7",
    attempt: int = 1,
    number: int | None = None,
    **details: Any,
) -> Event:
    return events.build(
        name,
        project="p",
        deployment="tiny",
        generation=generation,
        attempt=attempt,
        message=f"{name} happened",
        now=START + timedelta(seconds=second),
        number=number,
        **details,
    )


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

random_events = st.builds(
    event,
    st.sampled_from(list(TYPES)),
    st.integers(0, 5),
    generation=st.sampled_from(["7", "8", "10"]),
    attempt=st.integers(1, 2),
    number=st.none() | st.integers(0, 3),
)


@pytest.mark.parametrize("name", TYPES)
def test_every_type_is_a_cloudevent_to_the_sdk_and_to_the_schema(name: str) -> None:
    built = event(name, model="/sax/test/tiny")
    parsed = parse_cloudevent(built.encode())
    assert (parsed["id"], parsed["type"], parsed["specversion"]) == (built.id, built.type, "1.0")
    assert parsed.data == built.data
    assert json.loads(to_json(parsed)) == built.to_json()
    jsonschema.Draft202012Validator(
        events.json_schema(), format_checker=jsonschema.FormatChecker()
    ).validate(built.to_json())


@given(random_events)
def test_events_read_back_from_log_and_pubsub(built: Event) -> None:
    assert events.decode(built.encode()) == built
    assert events.from_message(built.message_data(), built.attributes()) == built
    structured = {"content-type": events.STRUCTURED_CONTENT_TYPE}
    assert events.from_message(built.encode(), structured) == built


def test_pubsub_attributes() -> None:
    attributes = event("model.serving", model="/sax/test/tiny", number=3).attributes()
    assert attributes == {
        "ce-specversion": "1.0",
        "ce-id": "tiny/7/1/model.serving/3",
        "ce-type": "dev.saxflow.deployment.model.serving",
        "ce-source": "//saxflow/projects/p/deployments/tiny",
        "ce-subject": "tiny",
        "ce-time": "2026-01-01T00:00:00.000Z",
        "content-type": "application/json",
        "event_type": "model.serving",
        "deployment": "tiny",
        "generation": "7",
        "stage": "model",
        "model": "/sax/test/tiny",
    }
    assert "model" not in event("manifest.accepted").attributes()
    assert event("manifest.accepted").ordering_key == "tiny"


def test_log_names_sort_by_number() -> None:
    assert events.log_name("deployments/a/1/events/", 12) == "deployments/a/1/events/00000012.json"


def test_unknown_types_cannot_be_built() -> None:
    with pytest.raises(KeyError):
        event("model.exploded")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"type": "dev.saxflow.deployment.model.exploded"}, "type"),
        ({"type": "com.example.other"}, "type"),
        ({"id": ""}, "id"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-01-01T00:00:00"}, "time"),
        ({"data": []}, "data"),
        (
            {"data": {"deployment": "a", "generation": "x", "stage": "s", "attempt": 1}},
            "generation",
        ),
        ({"data": {"deployment": "a", "generation": "1", "stage": "s", "attempt": -1}}, "attempt"),
    ],
)
def test_foreign_events_are_refused(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ProtocolError, match=named):
        events.from_json(event("model.serving").to_json() | change)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_logs_that_are_no_events_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        events.decode(data)


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00.000000000+01:00", "2026-01-01T00:00:00.0Z"],
)
def test_times_of_any_precision(text: str) -> None:
    built = event("model.serving").to_json() | {"time": text}
    assert events.moment(events.from_json(built)) == START


@given(
    st.lists(random_events, max_size=12).flatmap(
        lambda e: st.tuples(st.just(e), st.permutations(e + e[: len(e) // 2]))
    )
)
def test_fold_ignores_order_and_repetition(both: tuple[list[Event], list[Event]]) -> None:
    assert events.fold(both[0]) == events.fold(both[1])


def test_nothing_folds_to_unknown() -> None:
    status = events.fold([])
    assert (status.state, status.serving, status.settled) == ("unknown", None, False)


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
    assert status.settled
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
    failed = events.failure(
        "conversion", "consolidated.01.pth is missing", retryable=False, log="..."
    )
    status = events.fold([*timeline(*JOURNEY[:3]), event("deployment.failed", 9, failure=failed)])
    assert (status.state, status.failure) == ("failed", failed)
    assert "vendor" not in failed


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
    assert (status.state, status.failure, status.attempt) == ("converting", None, 2)


def test_every_state_and_end_is_in_the_table() -> None:
    assert set(events.STATES) >= events.SETTLED
    assert set(TYPES) >= events.STREAM_ENDS
