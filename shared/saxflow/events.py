"""CloudEvents of a deployment: build, store, publish, read back, and fold into a status.

One table names every type with the stage and the state it leads to. The log
`deployments/<name>/<generation>/events/%08d.json` holds the events whole (structured JSON); Pub/Sub
carries the same events in the binary binding. `fold` alone decides what a set of events means, for
`saxflow status`, for pages and for tests; it tolerates duplicates and any order.

Source: CloudEvents 1.0; googleapis/google-cloudevents docs/spec/pubsub.md; design.md section 5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from saxflow.errors import ProtocolError

PREFIX = "dev.saxflow.deployment."
SPEC_VERSION = "1.0"
CONTENT_TYPE = "application/json"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"


@dataclass(frozen=True)
class EventType:
    """One row of the table.

    Args:
        name: without the prefix, for example `model.serving`.
        state: the state of the deployment after it; empty leaves the state as it is, except that
            `provisioning` ends once the checkpoint is committed and the TPU active.
        meaning: one sentence for the documentation.
    """

    name: str
    state: str
    meaning: str

    @property
    def stage(self) -> str:
        """What the deployment is busy with: the first part of the name."""
        return self.name.partition(".")[0]


TYPES: Mapping[str, EventType] = {
    row.name: row
    for row in (
        EventType("manifest.accepted", "accepted", "the manifest is valid; an Execution will start"),
        EventType("manifest.rejected", "rejected", "the manifest cannot be used; every problem is listed"),
        EventType("weights.fetching", "fetching", "weights are being copied from where the manifest says"),
        EventType("weights.fetched", "fetching", "the weights are complete in the models bucket"),
        EventType("conversion.started", "converting", "the Batch Job exists"),
        EventType("conversion.progressed", "converting", "bytes, rate and ETA over all Tasks"),
        EventType("conversion.reused", "converting", "a committed checkpoint of the same fingerprint exists; no weights are read"),
        EventType("conversion.finished", "converting", "every object of the checkpoint is written"),
        EventType("checkpoint.committed", "", "every object is accounted for and the markers exist"),
        EventType("tpu.requested", "", "a QueuedResource was created in one zone"),
        EventType("tpu.waiting", "", "the QueuedResource waits for capacity, or the next zone is tried"),
        EventType("tpu.active", "", "the QueuedResource is ACTIVE; chips are billed from here"),
        EventType("sax.starting", "starting", "admin server and model servers are coming up"),
        EventType("sax.ready", "starting", "all workers are up and the admin server lists the model server"),
        EventType("model.publishing", "publishing", "publish was asked of the admin server"),
        EventType("model.loading", "loading", "the model server is reading the checkpoint"),
        EventType("model.published", "loading", "the model server holds the model"),
        EventType("model.serving", "serving", "the golden prompt was answered"),
        EventType("tpu.preempted", "preempted", "the TPU was taken away; reconcile starts another attempt"),
        EventType("deployment.superseded", "superseded", "a newer manifest took this one's place"),
        EventType("deployment.failed", "failed", "the attempt ended with a reason; what costs money is gone"),
        EventType("deployment.deleting", "deleting", "the manifest was deleted or its ttl has passed; teardown runs"),
        EventType("deployment.deleted", "deleted", "nothing of the deployment is left but its logs and checkpoint"),
    )
}  # fmt: skip
"""Every event type by its short name, in the order of a deployment's life."""

STATES = (
    "unknown",
    *dict.fromkeys(row.state for row in TYPES.values() if row.state),
    "provisioning",
)
"""States of a deployment; `provisioning`: the checkpoint is committed, the TPU not yet active."""

SETTLED = frozenset({"serving", "failed", "rejected", "superseded", "deleted"})
"""States in which nothing more happens by itself."""

STREAM_ENDS = frozenset({"model.serving", "manifest.rejected", "deployment.failed"}) | {
    "deployment.superseded",
    "deployment.deleted",
}
"""Types after which whoever watches one attempt may stop."""

_BEFORE_STARTING = frozenset({"unknown", "accepted", "fetching", "converting", "provisioning"})
_RANKS = {name: rank for rank, name in enumerate(TYPES)}
_WITHDRAWS_SERVING = frozenset(
    {
        "tpu.preempted",
        "deployment.failed",
        "deployment.superseded",
        "deployment.deleting",
        "deployment.deleted",
    }
)
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


def failure(
    stage: str,
    reason: str,
    *,
    retryable: bool,
    vendor: Any = None,
    log: str | None = None,
) -> dict[str, Any]:
    """Return the `failure` member of an event.

    Args:
        stage: a stage of the table.
        reason: a sentence a person can act on.
        retryable: whether `saxflow retry`, unchanged, may help.
        vendor: the service's own error, as it came.
        log: an excerpt of the log that shows it.
    """
    body = {"stage": stage, "reason": reason, "retryable": retryable, "vendor": vendor, "log": log}
    return {key: value for key, value in body.items() if value is not None}


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
    moment(event)
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


def moment(event: Event) -> datetime:
    """Return the event's time; fractions of any length are cut to microseconds.

    Raises:
        ProtocolError: the time is no RFC 3339 text with a zone.
    """
    text = _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", event.time, count=1)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is None:
        raise ProtocolError(f"event: time is {event.time!r}; RFC 3339 with a zone was expected")
    return parsed.astimezone(UTC)


@dataclass(frozen=True)
class DeploymentStatus:
    """What a deployment's events amount to.

    Args:
        deployment: its name; empty when there are no events.
        generation, attempt: the newest that any event speaks of.
        state: one of `STATES`.
        stage: of the newest event.
        since: RFC 3339 time of the event that led to the state.
        updated: RFC 3339 time of the newest event.
        message: of the newest event.
        progress: newest progress of the attempt while it converts, else None.
        failure: of the event that ended the attempt, else None.
        problems: of a rejected manifest, else empty.
        serving: {generation, attempt, model, since} of what answers, whatever the newest
            generation is doing; None when nothing does.
    """

    deployment: str = ""
    generation: str = "0"
    attempt: int = 0
    state: str = "unknown"
    stage: str = ""
    since: str | None = None
    updated: str | None = None
    message: str = ""
    progress: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None
    problems: tuple[Any, ...] = ()
    serving: Mapping[str, Any] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in SETTLED

    def to_json(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self) | {"problems": list(self.problems)}


@dataclass(frozen=True)
class _Fold:
    status: DeploymentStatus = field(default_factory=DeploymentStatus)
    committed: bool = False
    active: bool = False


def fold(events: Iterable[Event]) -> DeploymentStatus:
    """Return the status that a set of events of one deployment amounts to.

    Duplicates (equal ids) count once; the order of delivery does not matter: events are taken by
    generation, attempt, time, place in the table and number.
    """
    unique = {event.id: event for event in sorted(events, key=_tie, reverse=True)}
    state = _Fold()
    for event in sorted(unique.values(), key=_order):
        state = _step(state, event)
    return state.status


def _order(event: Event) -> tuple[int, int, datetime, int, str]:
    data = event.data
    rank = _RANKS[event.name]
    return int(data["generation"]), int(data["attempt"]), moment(event), rank, _tie(event)


def _tie(event: Event) -> str:
    return json.dumps(event.to_json(), sort_keys=True, default=str)


def _step(before: _Fold, event: Event) -> _Fold:
    data = event.data
    old = before.status
    generation, attempt = str(data["generation"]), int(data["attempt"])
    if (generation, attempt) != (old.generation, old.attempt):
        old = replace(old, state="unknown", since=None, progress=None, failure=None, problems=())
        before = _Fold(old)
    committed = before.committed or event.name == "checkpoint.committed"
    active = (before.active or event.name == "tpu.active") and event.name != "tpu.requested"
    state = _state(old.state, event, committed=committed, active=active)
    status = replace(
        old,
        deployment=str(data["deployment"]),
        generation=generation,
        attempt=attempt,
        state=state,
        stage=str(data["stage"]),
        since=old.since if state == old.state and old.since else event.time,
        updated=event.time,
        message=str(data.get("message", "")),
        progress=_progress(old, event, state),
        failure=data.get("failure", old.failure),
        problems=tuple(data.get("problems", old.problems)),
        serving=_serving(old.serving, event),
    )
    return _Fold(status, committed, active)


def _state(old: str, event: Event, *, committed: bool, active: bool) -> str:
    """Return the state after an event; conversion and TPU run side by side until both are there."""
    if event.name == "manifest.accepted" and old != "unknown":
        return old  # written by another clock than the Execution's
    if event.row.state:
        return event.row.state
    if old not in _BEFORE_STARTING:
        return old
    if not committed:
        return "accepted" if old == "unknown" else old
    return "starting" if active else "provisioning"


def _progress(old: DeploymentStatus, event: Event, state: str) -> Mapping[str, Any] | None:
    return event.data.get("progress", old.progress) if state == "converting" else None


def _serving(old: Mapping[str, Any] | None, event: Event) -> Mapping[str, Any] | None:
    data = event.data
    if event.name == "model.serving":
        return {
            "generation": str(data["generation"]),
            "attempt": int(data["attempt"]),
            "model": data.get("model"),
            "since": event.time,
        }
    same = old is not None and old["generation"] == str(data["generation"])
    ends = event.name in ("deployment.deleting", "deployment.deleted")
    if ends or (same and event.name in _WITHDRAWS_SERVING):
        return None
    return old


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


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event as the log holds it."""
    text = {"type": "string", "minLength": 1}
    progress = {
        "type": "object",
        "description": "Merged over all Tasks; rates in bytes per second, ETA in seconds.",
        "properties": {
            "bytes_done": {"type": "integer", "minimum": 0},
            "bytes_total": {"type": "integer", "minimum": 0},
            "bytes_per_second": {"type": "number", "minimum": 0},
            "eta_seconds": {"type": ["number", "null"]},
        },
    }
    failed = {
        "type": "object",
        "required": ["stage", "reason", "retryable"],
        "properties": {
            "stage": text,
            "reason": {**text, "description": "A sentence a person can act on."},
            "retryable": {"type": "boolean"},
            "vendor": {"description": "The service's own error, as it came."},
            "log": {"type": "string", "description": "An excerpt of the log that shows it."},
        },
    }
    data = {
        "type": "object",
        "required": ["deployment", "generation", "attempt", "stage", "message"],
        "properties": {
            "deployment": text,
            "generation": {"type": "string", "pattern": "^[0-9]+$"},
            "attempt": {"type": "integer", "minimum": 0},
            "stage": {"enum": list(dict.fromkeys(row.stage for row in TYPES.values()))},
            "message": {"type": "string"},
            "model": {"type": "string", "examples": ["/sax/test/llama27b"]},
            "progress": progress,
            "failure": failed,
            "problems": {"type": "array", "description": "Of a rejected manifest."},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:saxflow:schema:event:v1",
        "title": "saxflow deployment event",
        "description": "A CloudEvent 1.0 in JSON format. On Pub/Sub the same event travels in the"
        " binary binding: context attributes as ce-*, data as the message's data.",
        "type": "object",
        "required": ["specversion", "id", "type", "source", "subject", "time", "data"],
        "properties": {
            "specversion": {"const": SPEC_VERSION},
            "id": {**text, "description": "<name>/<generation>/<attempt>/<type>[/<n>]"},
            "type": {"enum": [PREFIX + name for name in TYPES]},
            "source": {"type": "string", "pattern": "^//saxflow/projects/.+/deployments/.+$"},
            "subject": {**text, "description": "The deployment's name."},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": CONTENT_TYPE},
            "data": data,
        },
    }
