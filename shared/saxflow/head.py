"""The head of a deployment: the one object that says what is wanted, who acts and what serves.

`deployments/<name>/head.json` is written only with a generation precondition. Functions change it
through the transitions below, Workflows edit the same flat JSON; both read, change, compare and
swap. Events arrive at least once and in any order, therefore a transition either returns a new head
or a `Refusal`, and repeating it changes nothing.

    finalized g ──desire──▶ desired = g     unless g <= desired or g <= tombstone
    deleted g ────bury────▶ tombstone = g, desired = 0 when desired <= g
    retried g ────retry───▶ attempts + 1
    Execution ────────────▶ lease, candidate, serving, finished (workflows/deploy_model.yaml)

Source: design.md section 4.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, cast

from saxflow.errors import IntegrityError

API_VERSION = "saxflow/v1"
NO_GENERATION = "0"
"""Written where no generation is meant; every real one is greater."""


@dataclass(frozen=True)
class Refusal:
    """A transition that does not apply; the head stays as it is.

    Args:
        code: `repeated`, `superseded` or `deleted`.
        message: a sentence that names the values.
    """

    code: str
    message: str


@dataclass(frozen=True)
class Source:
    """The manifest's place in the manifests bucket."""

    bucket: str
    object: str


@dataclass(frozen=True)
class Lease:
    """The right of one Execution to act for one attempt, until a moment in Unix seconds."""

    execution: str
    until: float
    generation: str = NO_GENERATION
    attempt: int = 0


@dataclass(frozen=True)
class Finished:
    """How the last attempt ended: `serving`, `failed`, `superseded` or `deleted`."""

    generation: str
    attempt: int
    outcome: str


@dataclass(frozen=True)
class Attempt:
    """One attempt to serve a generation: the candidate, and once promoted what serves.

    Args:
        generation: of the manifest, decimal.
        attempt: 1 for the first.
        execution: full resource name of the Execution that made it.
        phase: stage reached, in the words of the events.
        queued_resource, zone: the TPU held; empty while none is.
        sax_root, model_id, checkpoint: how to reach the model; empty until known.
        active_at: Unix seconds at which the TPU became ACTIVE, 0 before; ttl counts from here.
        more: what else a Workflow wrote, kept as it is.
    """

    generation: str
    attempt: int
    execution: str = ""
    phase: str = ""
    queued_resource: str = ""
    zone: str = ""
    sax_root: str = ""
    model_id: str = ""
    checkpoint: str = ""
    active_at: float = 0
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """Return the flat JSON object."""
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "more"}
        return {**self.more, **known}


@dataclass(frozen=True)
class Head:
    """What is wanted of a deployment, who acts on it and what serves."""

    name: str
    source: Source | None = None
    desired: str = NO_GENERATION
    tombstone: str = NO_GENERATION
    lease: Lease | None = None
    candidate: Attempt | None = None
    serving: Attempt | None = None
    finished: Finished | None = None
    attempts: int = 0

    @property
    def wanted(self) -> bool:
        """Whether some generation is desired."""
        return self.desired != NO_GENERATION

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that is stored."""
        return {
            "apiVersion": API_VERSION,
            "name": self.name,
            "source": vars(self.source) if self.source else None,
            "desired": self.desired,
            "tombstone": self.tombstone,
            "lease": vars(self.lease) if self.lease else None,
            "candidate": self.candidate.to_json() if self.candidate else None,
            "serving": self.serving.to_json() if self.serving else None,
            "finished": vars(self.finished) if self.finished else None,
            "attempts": self.attempts,
        }

    def encode(self) -> bytes:
        """Return the bytes that are stored."""
        return json.dumps(self.to_json(), indent=1).encode()


def from_json(value: Mapping[str, Any]) -> Head:
    """Return the head that was stored.

    Raises:
        IntegrityError: a field is missing or of the wrong type; the message names it.
    """
    if value.get("apiVersion") != API_VERSION:
        raise IntegrityError(
            f"head: apiVersion is {value.get('apiVersion')!r}; {API_VERSION!r} was expected"
        )
    return Head(
        name=_text(value, "name"),
        source=_optional(value, "source", _source),
        desired=_generation(value, "desired"),
        tombstone=_generation(value, "tombstone"),
        lease=_optional(value, "lease", _lease),
        candidate=_optional(value, "candidate", _attempt),
        serving=_optional(value, "serving", _attempt),
        finished=_optional(value, "finished", _finished),
        attempts=int(_number(value, "attempts")),
    )


def desire(head: Head, generation: str, source: Source) -> Head | Refusal:
    """Want a finalized generation, unless a newer one or its deletion is known.

    A `repeated` refusal means this generation is wanted already: the caller makes sure that its
    Execution exists, because a crash may have come between.
    """
    number = int(generation)
    if number <= int(head.tombstone):
        return Refusal("deleted", f"generation {generation} of {head.name} was deleted")
    if number < int(head.desired):
        return Refusal(
            "superseded", f"generation {generation} of {head.name} is older than {head.desired}"
        )
    if number == int(head.desired):
        return Refusal("repeated", f"generation {generation} of {head.name} is wanted already")
    return replace(head, desired=generation, source=source, attempts=1)


def bury(head: Head, generation: str) -> Head | Refusal:
    """Remember that a generation was deleted; want nothing unless something newer is wanted.

    The caller has made sure that no live object remains, for `deleted` also fires on overwrite.
    """
    number = int(generation)
    if number <= int(head.tombstone):
        return Refusal("repeated", f"generation {generation} of {head.name} is buried already")
    desired = NO_GENERATION if int(head.desired) <= number else head.desired
    return replace(head, tombstone=generation, desired=desired)


def retry(head: Head, generation: str) -> Head | Refusal:
    """Begin another attempt at the desired generation."""
    refusal = superseded(head, generation)
    return refusal or replace(head, attempts=head.attempts + 1)


def superseded(head: Head, generation: str) -> Refusal | None:
    """Return why an Execution for `generation` has to stop, None when it may go on."""
    if int(generation) <= int(head.tombstone):
        return Refusal("deleted", f"generation {generation} of {head.name} was deleted")
    if generation != head.desired:
        return Refusal(
            "superseded", f"generation {head.desired} of {head.name} is wanted, not {generation}"
        )
    return None


_Part = TypeVar("_Part")


def _optional(
    value: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any]], _Part]
) -> _Part | None:
    part = value.get(key)
    if part is None:
        return None
    if not isinstance(part, dict):
        raise IntegrityError(f"head: {key} is {part!r}; an object or null was expected")
    return read(cast("dict[str, Any]", part))


def _source(value: Mapping[str, Any]) -> Source:
    return Source(_text(value, "bucket"), _text(value, "object"))


def _lease(value: Mapping[str, Any]) -> Lease:
    return Lease(
        _text(value, "execution"),
        _number(value, "until"),
        _generation(value, "generation"),
        int(_number(value, "attempt")),
    )


def _finished(value: Mapping[str, Any]) -> Finished:
    return Finished(
        _generation(value, "generation"), int(_number(value, "attempt")), _text(value, "outcome")
    )


_ATTEMPT_TEXTS = (
    "execution",
    "phase",
    "queued_resource",
    "zone",
    "sax_root",
    "model_id",
    "checkpoint",
)


def _attempt(value: Mapping[str, Any]) -> Attempt:
    known = {"generation", "attempt", "active_at", *_ATTEMPT_TEXTS}
    return Attempt(
        generation=_generation(value, "generation"),
        attempt=int(_number(value, "attempt")),
        active_at=_number(value, "active_at") if value.get("active_at") is not None else 0,
        more={key: item for key, item in value.items() if key not in known},
        **{key: _text(value, key) for key in _ATTEMPT_TEXTS if value.get(key) is not None},
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    if not isinstance(text, str):
        raise IntegrityError(f"head: {key} is {text!r}; text was expected")
    return text


def _generation(value: Mapping[str, Any], key: str) -> str:
    text = _text(value, key)
    if not (text.isascii() and text.isdigit()):
        raise IntegrityError(f"head: {key} is {text!r}; a decimal generation was expected")
    return text


def _number(value: Mapping[str, Any], key: str) -> float:
    number = value.get(key)
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        raise IntegrityError(f"head: {key} is {number!r}; a number was expected")
    return number
