"""Notification configurations, and what they are refused for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .paths import BUCKET

TOPIC = "//pubsub.googleapis.com/projects/p/topics/events"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "topic ''"),
        ({"topic": "projects/p/topics/t"}, "topic 'projects/p/topics/t'"),
        ({"topic": "//pubsub.googleapis.com/projects/"}, "topic"),
        ({"topic": 5}, "topic '5'"),
        ({"topic": TOPIC, "event_types": 5}, "event_types 5"),
        ({"topic": TOPIC, "event_types": ["OBJECT_MOVED"]}, "OBJECT_MOVED"),
        ({"topic": TOPIC, "event_types": [{}]}, "event_types"),
        ({"topic": TOPIC, "payload_format": "XML"}, "payload_format 'XML'"),
        ({"topic": TOPIC, "payload_format": []}, "payload_format []"),
        ({"topic": TOPIC, "object_name_prefix": 5}, "object_name_prefix 5"),
        ({"topic": TOPIC, "custom_attributes": "x"}, "custom_attributes 'x'"),
        ({"topic": TOPIC, "custom_attributes": {"a": 1}}, "custom_attributes"),
    ],
)
def test_notifications_that_cannot_be_sent(peer: Any, fields: dict[str, Any], words: str) -> None:
    answer = peer.ask("POST", f"{BUCKET}/notificationConfigs", fields)
    assert answer.status == 400
    assert words in answer.error["message"]
    assert peer.insert("o").status == 200
    assert peer.published == []


def test_notifications(peer: Any) -> None:
    path = f"{BUCKET}/notificationConfigs"
    made = peer.ask("POST", path, {"topic": TOPIC, "event_types": ["OBJECT_FINALIZE"]}).json
    assert made["payload_format"] == "JSON_API_V1"
    own = f"{path}/{made['id']}"
    assert peer.ask("GET", own).json == made
    assert peer.ask("GET", path).json["items"] == [made]
    generation = peer.insert("é").json["generation"]
    (message,) = peer.published
    assert message[0] == "projects/p/topics/events"
    assert json.loads(message[1])["name"] == message[2]["objectId"] == "é"
    assert message[2]["objectGeneration"] == generation
    assert peer.ask("DELETE", own).status == 204
    for method in ("GET", "DELETE"):
        answer = peer.ask(method, own)
        assert answer.status == 404
        assert answer.error["message"] == f"notification {made['id']} of buck does not exist"


def test_a_bucket_that_is_made_again_has_no_notifications(peer: Any) -> None:
    peer.ask("POST", f"{BUCKET}/notificationConfigs", {"topic": TOPIC})
    assert peer.ask("DELETE", BUCKET).status == 204
    peer.ask("POST", "/storage/v1/b", {"name": "buck"})
    assert peer.ask("GET", f"{BUCKET}/notificationConfigs").json["items"] == []
    peer.insert("o")
    assert peer.published == []
