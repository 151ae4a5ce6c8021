"""Pub/Sub notifications of a bucket's changes.

Source: cloud.google.com/storage/docs/pubsub-notifications.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.api_core import exceptions

from saxflow.local.clock import Clock
from saxflow.local.storage.resources import ObjectRecord, rfc3339
from saxflow.local.storage.store import Event

Publish = Callable[[str, bytes, dict[str, str]], None]
"""`(topic, data, attributes)`; the topic is a full resource name."""

_EVENT_TYPES: dict[Event, str] = {
    "finalized": "OBJECT_FINALIZE",
    "deleted": "OBJECT_DELETE",
    "metadataUpdated": "OBJECT_METADATA_UPDATE",
}
_TOPIC_PREFIX = "//pubsub.googleapis.com/"
_TOPIC = re.compile(rf"{_TOPIC_PREFIX}projects/[^/]+/topics/[^/]+")
_PAYLOAD_FORMATS = ("JSON_API_V1", "NONE")


class Notifications:
    """The notification configurations of every bucket; they live as long as the server.

    Args:
        publish: sends a message; must not block.
        root: returns the URL of the storage server.
        clock: decides when a deletion happened; other changes are in the object's own times.
    """

    def __init__(self, publish: Publish, root: Callable[[], str], clock: Clock) -> None:
        self._publish = publish
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._configurations: dict[tuple[str, str], dict[str, Any]] = {}

    def add(self, bucket: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Store a configuration and return it with its id.

        Raises:
            InvalidArgument: the topic is not a Pub/Sub topic's full name, or another field says
                what cannot be sent.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        _check(given)
        with self._lock:
            identity = str(next(self._numbers))
            stored = {"payload_format": "JSON_API_V1", **given}
            stored |= {"kind": "storage#notification", "id": identity, "etag": identity}
            self._configurations[bucket, identity] = stored
        return stored

    def of(self, bucket: str) -> list[dict[str, Any]]:
        """Return the configurations of a bucket."""
        with self._lock:
            return [each for (name, _), each in self._configurations.items() if name == bucket]

    def get(self, bucket: str, identity: str) -> dict[str, Any]:
        """Return one configuration.

        Raises:
            NotFound: no such configuration.
        """
        with self._lock:
            found = self._configurations.get((bucket, identity))
        if found is None:
            raise exceptions.NotFound(f"notification {identity} of {bucket} does not exist")
        return found

    def remove(self, bucket: str, identity: str) -> None:
        """Forget one configuration.

        Raises:
            NotFound: no such configuration.
        """
        self.get(bucket, identity)
        with self._lock:
            self._configurations.pop((bucket, identity), None)

    def forget(self, bucket: str) -> None:
        """Forget every configuration of a bucket that was deleted."""
        with self._lock:
            for key in [key for key in self._configurations if key[0] == bucket]:
                del self._configurations[key]

    def on_event(self, event: Event, record: ObjectRecord, attributes: Mapping[str, str]) -> None:
        """Publish a change to every configuration that asks for it."""
        for configuration in self.of(record.bucket):
            if _wanted(configuration, event, record.name):
                self._send(configuration, event, record, attributes)

    def _send(
        self,
        configuration: Mapping[str, Any],
        event: Event,
        record: ObjectRecord,
        attributes: Mapping[str, str],
    ) -> None:
        payload_format = configuration["payload_format"]
        resource = record.resource(self._root())
        data = b"" if payload_format == "NONE" else json.dumps(resource).encode()
        sent = {
            "notificationConfig": (
                f"projects/_/buckets/{record.bucket}/notificationConfigs/{configuration['id']}"
            ),
            "eventType": _EVENT_TYPES[event],
            "payloadFormat": payload_format,
            "bucketId": record.bucket,
            "objectId": record.name,
            "objectGeneration": str(record.generation),
            "eventTime": rfc3339(self._clock.now()) if event == "deleted" else record.updated,
            **attributes,
            **(configuration.get("custom_attributes") or {}),
        }
        self._publish(configuration["topic"].removeprefix(_TOPIC_PREFIX), data, sent)


def _check(fields: Mapping[str, Any]) -> None:
    topic = str(fields.get("topic", ""))
    if not _TOPIC.fullmatch(topic):
        raise exceptions.InvalidArgument(
            f"Invalid topic {topic!r}: use {_TOPIC_PREFIX}projects/PROJECT/topics/TOPIC"
        )
    known = list(_EVENT_TYPES.values())
    right = {
        "event_types": lambda value: (
            isinstance(value, list) and all(each in known for each in value)
        ),
        "payload_format": lambda value: value in _PAYLOAD_FORMATS,
        "object_name_prefix": lambda value: isinstance(value, str),
        "custom_attributes": lambda value: isinstance(value, dict) and _is_text(value.values()),
    }
    for name, holds in right.items():
        if name in fields and not holds(fields[name]):
            raise exceptions.InvalidArgument(f"Invalid {name} {fields[name]!r}")


def _is_text(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _wanted(configuration: Mapping[str, Any], event: Event, name: str) -> bool:
    types = configuration.get("event_types") or list(_EVENT_TYPES.values())
    return _EVENT_TYPES[event] in types and name.startswith(
        configuration.get("object_name_prefix") or ""
    )
