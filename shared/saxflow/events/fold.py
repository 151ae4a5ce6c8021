"""What a set of events amounts to.

`fold` alone decides, for `saxflow status`, for pages and for tests; it tolerates duplicates and any
order of delivery.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from saxflow.events.event import Event, moment
from saxflow.events.table import TYPES

_BEFORE_STARTING = frozenset({"unknown", "accepted", "fetching", "converting", "provisioning"})
_SIDE_BY_SIDE = frozenset({"", "converting", "starting"})
_COMMITS = frozenset({"checkpoint.committed", "conversion.reused"})
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
    return int(data["generation"]), int(data["attempt"]), moment(event.time), rank, _tie(event)


def _tie(event: Event) -> str:
    return json.dumps(event.to_json(), sort_keys=True, default=str)


def _step(before: _Fold, event: Event) -> _Fold:
    data = event.data
    old = before.status
    generation, attempt = str(data["generation"]), int(data["attempt"])
    if (generation, attempt) != (old.generation, old.attempt):
        old = replace(old, state="unknown", since=None, progress=None, failure=None, problems=())
        before = _Fold(old)
    committed = before.committed or event.name in _COMMITS
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
    """Return the state after an event.

    Conversion, TPU and the start of SAX run side by side: until the checkpoint is committed they
    are all `converting`, afterwards `provisioning` or, with the TPU active, `starting`.
    """
    if event.name == "manifest.accepted" and old != "unknown":
        return old  # written by another clock than the Execution's
    state = event.row.state
    if state not in _SIDE_BY_SIDE:
        return state
    if old not in _BEFORE_STARTING:
        return old
    if committed:
        return "starting" if active or state == "starting" else "provisioning"
    if state == "converting":
        return state
    return "accepted" if old == "unknown" else old


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
