from __future__ import annotations

import json

import pytest
from google.api_core import exceptions

from saxflow.local.clock import VirtualClock
from saxflow.local.storage.notifications import Notifications
from saxflow.local.storage.resources import ObjectRecord

TOPIC = "//pubsub.googleapis.com/projects/p/topics/t"
CLOCK = VirtualClock(1_800_000_000.0)
RECORD = ObjectRecord("b", "in/o", 5, 1, "f", 3, "crc", "md5", "t0", "t0")


def test_changes_are_published_to_who_asked() -> None:
    sent: list[tuple[str, bytes, dict[str, str]]] = []
    notifications = Notifications(
        lambda *message: sent.append(message), lambda: "http://host", CLOCK
    )
    notifications.add("b", {"topic": TOPIC, "event_types": ["OBJECT_DELETE"]})
    notifications.add("b", {"topic": TOPIC, "object_name_prefix": "out/"})
    notifications.add("other", {"topic": TOPIC})
    notifications.add("b", {"topic": TOPIC, "custom_attributes": {"a": "1"}})
    notifications.add("b", {"topic": TOPIC, "payload_format": "NONE"})
    notifications.on_event("finalized", RECORD, {"overwroteGeneration": "4"})
    (topic, data, attributes), (_, empty, _) = sent
    assert topic == "projects/p/topics/t"
    assert json.loads(data)["generation"] == "5"
    assert empty == b""
    assert attributes | {"eventType": "OBJECT_FINALIZE", "a": "1", "overwroteGeneration": "4",
                         "objectId": "in/o", "bucketId": "b", "eventTime": "t0"} == attributes  # fmt: skip


def test_a_deletion_has_the_time_when_it_happened() -> None:
    times: list[str] = []
    notifications = Notifications(
        lambda *message: times.append(message[2]["eventTime"]), lambda: "http://host", CLOCK
    )
    notifications.add("b", {"topic": TOPIC})
    for event in ("metadataUpdated", "deleted"):
        notifications.on_event(event, RECORD, {})
    assert times == ["t0", "2027-01-15T08:00:00.000000Z"]


def test_configurations_come_and_go() -> None:
    notifications = Notifications(lambda *message: None, str, CLOCK)
    stored = notifications.add("b", {"topic": TOPIC})
    assert notifications.get("b", stored["id"]) == stored
    assert notifications.of("b") == [stored]
    notifications.remove("b", stored["id"])
    with pytest.raises(exceptions.NotFound):
        notifications.remove("b", stored["id"])
    with pytest.raises(exceptions.InvalidArgument, match="topic"):
        notifications.add("b", {"topic": "t"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("topic", f"{TOPIC}/more"),
        ("event_types", "OBJECT_FINALIZE"),
        ("event_types", ["OBJECT_MOVED"]),
        ("payload_format", "XML"),
        ("object_name_prefix", 5),
        ("custom_attributes", {"a": 1}),
    ],
)
def test_what_could_never_be_sent_is_refused(field: str, value: object) -> None:
    notifications = Notifications(lambda *message: None, str, CLOCK)
    with pytest.raises(exceptions.InvalidArgument, match=f"Invalid {field} "):
        notifications.add("b", {"topic": TOPIC, field: value})
    assert notifications.of("b") == []


def test_fields_that_are_null_are_as_if_absent() -> None:
    notifications = Notifications(lambda *message: None, str, CLOCK)
    stored = notifications.add("b", {"topic": TOPIC, "payload_format": None, "event_types": None})
    assert stored["payload_format"] == "JSON_API_V1"
    notifications.on_event("finalized", RECORD, {})


def test_a_bucket_that_went_takes_its_configurations_along() -> None:
    notifications = Notifications(lambda *message: None, str, CLOCK)
    for bucket in ("b", "b", "other"):
        notifications.add(bucket, {"topic": TOPIC})
    notifications.forget("b")
    assert (notifications.of("b"), len(notifications.of("other"))) == ([], 1)
