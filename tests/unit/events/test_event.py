"""Events are CloudEvents to the SDK and the schema, and travel both ways."""

import json
from typing import Any

import jsonschema
import pytest
from cloudevents.conversion import to_json
from cloudevents.http import from_json as parse_cloudevent
from hypothesis import given

from saxflow import events
from saxflow.errors import ProtocolError
from saxflow.events import TYPES, Event

from .samples import START, event, random_events


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
    assert events.moment(events.from_json(built).time) == START
