"""A Cloud Storage event as Eventarc delivers it, reduced to what matters.

Source: googleapis/google-cloudevents proto/google/events/cloud/storage/v1 (int64 fields arrive as
numbers or as strings).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from saxflow.errors import InputError

TYPE_PREFIX = "google.cloud.storage.object.v1."


@dataclass(frozen=True)
class Notification:
    """What happened to one generation of one object.

    Args:
        kind: `finalized` or `deleted` (others are of no concern).
        bucket, name: the object.
        generation: decimal.
    """

    kind: str
    bucket: str
    name: str
    generation: str


def parse(event_type: str, data: Any) -> Notification:
    """Read the type and data of a CloudEvent.

    Raises:
        InputError: it is no event about a Cloud Storage object; the message says what is missing.
    """
    if not event_type.startswith(TYPE_PREFIX):
        raise InputError(f"event type {event_type!r} is none of {TYPE_PREFIX}*")
    if not isinstance(data, Mapping):
        raise InputError(f"event data is {type(data).__name__}; a JSON object was expected")
    fields = cast("Mapping[str, Any]", data)
    generation = str(fields.get("generation", ""))
    if not (generation.isascii() and generation.isdigit()):
        raise InputError(f"event data has generation {generation!r}; a number was expected")
    return Notification(
        event_type.removeprefix(TYPE_PREFIX),
        _text(fields, "bucket"),
        _text(fields, "name"),
        generation,
    )


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"event data has {key} {value!r}; text was expected")
    return value
