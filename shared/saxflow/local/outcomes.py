"""What the embedded cloud's capacity does to a resource: hold it, fail it, preempt it, refuse it.

Faults (`saxflow.local.faults`) strike calls; outcomes strike what lives between the calls. They are
armed by tests and by `saxflow local`, and taken by Batch and TPU when a resource gets that far.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from saxflow.errors import InputError
from saxflow.local.sensible import check_fields, is_amount, is_count_or_none, is_text

Kind = Literal["hold", "fail", "preempt", "quota"]

_SENSIBLE = {
    "contains": is_text,
    "count": is_count_or_none,
    "after_seconds": is_amount,
    "message": is_text,
}


@dataclass(frozen=True)
class Outcome:
    """One thing that happens to resources.

    Args:
        kind: `hold` keeps it waiting until released; `fail` ends it; `preempt` takes its machines
            away; `quota` refuses its creation with 429.
        contains: only resources whose full name contains this.
        count: how often; None for ever. A `hold` lasts until it is released.
        after_seconds: for `preempt`, time between the start of the machines and their loss.
        message: the service's words.
    """

    kind: Kind
    contains: str = ""
    count: int | None = 1
    after_seconds: float = 0.0
    message: str = ""


class Outcomes:
    """The outcomes that are armed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._armed: list[Outcome] = []
        self._taken: list[int] = []

    def arm(self, kind: str, **when: Any) -> Outcome:
        """Add an outcome; keyword arguments are those of `Outcome`.

        Raises:
            InputError: unknown kind, unknown or senseless argument.
        """
        if kind not in get_args(Kind):
            raise InputError(f"outcome {kind!r} is unknown; use one of {', '.join(get_args(Kind))}")
        try:
            outcome = Outcome(kind, **when)  # type: ignore[arg-type]
        except TypeError as error:
            raise InputError(f"outcome {kind!r}: {error}") from error
        check_fields(f"outcome {kind!r}", outcome, _SENSIBLE)
        with self._changed:
            self._armed.append(outcome)
            self._taken.append(0)
        return outcome

    def release(self, contains: str = "") -> None:
        """End every `hold` whose `contains` is this; empty ends all of them."""
        with self._changed:
            kept = [
                (outcome, taken)
                for outcome, taken in zip(self._armed, self._taken, strict=True)
                if outcome.kind != "hold" or contains not in ("", outcome.contains)
            ]
            self._armed = [outcome for outcome, _ in kept]
            self._taken = [taken for _, taken in kept]
            self._changed.notify_all()

    def clear(self) -> None:
        """Disarm everything."""
        with self._changed:
            self._armed.clear()
            self._taken.clear()
            self._changed.notify_all()

    def armed(self) -> list[dict[str, Any]]:
        """Return every outcome with `taken`, how often it has struck."""
        with self._changed:
            pairs = zip(self._armed, self._taken, strict=True)
            return [{**asdict(outcome), "taken": taken} for outcome, taken in pairs]

    def take(self, kind: Kind, name: str) -> Outcome | None:
        """Return the outcome that strikes this resource now, and count it."""
        with self._changed:
            for index, outcome in enumerate(self._armed):
                spent = outcome.count is not None and self._taken[index] >= outcome.count
                if outcome.kind == kind and outcome.contains in name and not spent:
                    self._taken[index] += 1
                    return outcome
        return None

    def held(self, name: str) -> bool:
        """Say whether a `hold` keeps this resource waiting."""
        with self._changed:
            return self._holds(name)

    def wait_released(self, name: str, cancelled: threading.Event) -> bool:
        """Block while the resource is held; return False when `cancelled` came first."""
        with self._changed:
            while self._holds(name) and not cancelled.is_set():
                self._changed.wait()
        return not cancelled.is_set()

    def wake(self) -> None:
        """Let waiters look at their `cancelled` again."""
        with self._changed:
            self._changed.notify_all()

    def _holds(self, name: str) -> bool:
        return any(o.kind == "hold" and o.contains in name for o in self._armed)
