"""One CloudEvent: build it, store it, publish it, read it back.

The log holds events whole (structured JSON); Pub/Sub carries the same events in the binary binding.

Source: CloudEvents 1.0; googleapis/google-cloudevents docs/spec/pubsub.md; design.md section 5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from saxflow.errors import ProtocolError
from saxflow.events.table import PREFIX, TYPES, EventType

SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"
_FRACTION = re.compile(r"\.(\d+)")


@dataclass(frozen=True)
class Event:
    """One CloudEvent; all attributes are text, `data` is a JSON object.

    Args:
        id: `<name>/<generation>/<attempt>/<type>[/<n>]`; equal ids are the same event.
        type: with the prefix.
        source: `//saxflow/projects/P/deployments/NAME`.
        subject: the deployment's name.
        time: RFC 3339, UTC.
        data: {deployment, generation, attempt, stage, message, model?, progress?, failure?, ...};
            the stage is the type's, `failure.stage` says where a failure happened.
    """

    id: str
    type: str
    source: str
    subject: str
    time: str
    data: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The type without its prefix."""
        return self.type.removeprefix(PREFIX)

    @property
    def row(self) -> EventType:
        """The type's row of the table."""
        return TYPES[self.name]

    def to_json(self) -> dict[str, Any]:
        """Return the event in CloudEvents' JSON format, as the log holds it."""
        return {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "type": self.type,
            "source": self.source,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": CONTENT_TYPE,
            "data": dict(self.data),
        }

    def encode(self) -> bytes:
        """Return the bytes of a log object."""
        return json.dumps(self.to_json(), ensure_ascii=False).encode()

    def attributes(self) -> dict[str, str]:
        """Return the Pub/Sub attributes of the binary binding, and plain ones for filters."""
        plain = {
            "event_type": self.name,
            "deployment": str(self.data["deployment"]),
            "generation": str(self.data["generation"]),
            "stage": str(self.data["stage"]),
            "model": str(self.data.get("model") or ""),
        }
        binding = {
            "ce-specversion": SPEC_VERSION,
            "ce-id": self.id,
            "ce-type": self.type,
            "ce-source": self.source,
            "ce-subject": self.subject,
            "ce-time": self.time,
            "content-type": CONTENT_TYPE,
        }
        return binding | {key: value for key, value in plain.items() if value}

    def message_data(self) -> bytes:
        """Return the Pub/Sub data of the binary binding."""
        return json.dumps(dict(self.data), ensure_ascii=False).encode()

    @property
    def ordering_key(self) -> str:
        """The Pub/Sub ordering key: the deployment."""
        return str(self.data["deployment"])


def build(
    name: str,
    *,
    project: str,
    deployment: str,
    generation: str,
    attempt: int,
    message: str,
    now: datetime,
    number: int | None = None,
    **details: Any,
) -> Event:
    """Return an event of the table.

    Args:
        name: short type, a key of `TYPES`.
        message: one sentence about what happened.
        now: when it happened, with a time zone.
        number: `n` of the id, for types that occur more than once in an attempt.
        details: what else `data` holds: `model`, `progress`, `failure`, `problems`, ...; None is
            left out.

    Raises:
        KeyError: the table has no such type.
    """
    row = TYPES[name]
    suffix = "" if number is None else f"/{number}"
    data = {
        "deployment": deployment,
        "generation": generation,
        "attempt": attempt,
        "stage": row.stage,
        "message": message,
        **{key: value for key, value in details.items() if value is not None},
    }
    return Event(
        id=f"{deployment}/{generation}/{attempt}/{name}{suffix}",
        type=PREFIX + name,
        source=source_of(project, deployment),
        subject=deployment,
        time=now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        data=data,
    )


def source_of(project: str, deployment: str) -> str:
    """Return the CloudEvents source of a deployment."""
    return f"//saxflow/projects/{project}/deployments/{deployment}"


def log_name(prefix: str, number: int) -> str:
    """Return the object name of the `number`-th event, from 0, below an events prefix."""
    return f"{prefix}{number:08d}.json"


def from_json(value: Mapping[str, Any]) -> Event:
    """Return the event that a structured JSON object holds.

    Raises:
        ProtocolError: it is no event of ours; the message names the member.
    """
    if value.get("specversion") != SPEC_VERSION:
        raise ProtocolError(f"event: specversion is {value.get('specversion')!r}, not '1.0'")
    event = Event(
        id=_text(value, "id"),
        type=_text(value, "type"),
        source=_text(value, "source"),
        subject=_text(value, "subject"),
        time=_text(value, "time"),
        data=_data(value.get("data")),
    )
    if not event.type.startswith(PREFIX) or event.name not in TYPES:
        raise ProtocolError(f"event: type {event.type!r} is none of {PREFIX}*")
    moment(event.time)
    return event


def decode(data: bytes) -> Event:
    """Return the event that a log object holds.

    Raises:
        ProtocolError: the bytes are no event of ours.
    """
    return from_json(_object(data))


def from_message(data: bytes, attributes: Mapping[str, str]) -> Event:
    """Return the event that a Pub/Sub message carries, in either binding.

    Raises:
        ProtocolError: the message is no event of ours.
    """
    if attributes.get("content-type", "").startswith("application/cloudevents"):
        return decode(data)
    members = ("specversion", "id", "type", "source", "subject", "time")
    structured: dict[str, Any] = {key: attributes.get(f"ce-{key}") for key in members}
    return from_json({**structured, "data": _object(data)})


def moment(text: str) -> datetime:
    """Return an event's time in UTC; fractions of any length are cut to microseconds.

    Raises:
        ProtocolError: the time is no RFC 3339 text with a zone.
    """
    known = _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text, count=1)
    try:
        parsed = datetime.fromisoformat(known)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise ProtocolError(f"event: time is {text!r}; RFC 3339 with a zone was expected")
    return parsed.astimezone(UTC)


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"event: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"event: {type(value).__name__} where a JSON object was expected")
    return cast("dict[str, Any]", value)


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not text:
        raise ProtocolError(f"event: {key} is {text!r}; text was expected")
    return text


def _data(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"event: data is {value!r}; an object was expected")
    data = cast("dict[str, Any]", value)
    for key in ("deployment", "stage"):
        _text(data, key)
    generation = _text(data, "generation")
    attempt = data.get("attempt")
    if not (generation.isascii() and generation.isdigit()):
        raise ProtocolError(f"event: generation is {generation!r}; a decimal number was expected")
    if not isinstance(attempt, int) or isinstance(attempt, bool) or attempt < 0:
        raise ProtocolError(f"event: attempt is {attempt!r}; a number from 0 was expected")
    return data
