"""Which calls a journey makes, and the one of them that is struck.

`Chaos` knows the deployment each call belongs to, so that many journeys run side by side and each
meets its own fault.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from saxflow.local.faults import Fault, parse_action

STALL_SECONDS = 4.0
_CASE = re.compile(r"case-\d{4}")
_NUMBERS = re.compile(r"\b(sf-case-N|case-N/)[0-9a-z-]*-a\d+|\d{10,}")
_EVENT = re.compile(r'key: "event_type"\s*value: "([a-z.]+)"')


@dataclass(frozen=True, order=True)
class Point:
    """One call of a journey: what was asked of whom, the how-manieth time."""

    service: str
    method: str
    subject: str
    nth: int

    def __str__(self) -> str:
        return f"{self.service}.{self.method}[{self.subject}]#{self.nth}"


@dataclass
class Chaos:
    """Stands where the embedded services ask for scripted faults.

    Args:
        strikes: deployment -> the point that is struck, how, and how many times in a row.
        struck: deployments that have met their fault.
    """

    strikes: dict[str, tuple[Point, str, int]] = field(default_factory=dict)
    struck: set[str] = field(default_factory=set)
    calls: dict[str, list[Point]] = field(default_factory=dict)
    _counts: dict[str, Counter[tuple[str, str, str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, service: str, method: str, subject: Callable[[], str] = str) -> Fault | None:
        """Note a call, and strike it when its time has come."""
        if service in ("executions", "operations", "workflows", "eventarc"):
            return None
        text = subject()
        if not (found := _CASE.search(text)):
            return None
        name = found[0]
        kind = (service, method, _subject(service, text))
        with self._lock:
            counts = self._counts.setdefault(name, Counter())
            counts[kind] += 1
            point = Point(*kind, counts[kind])
            self.calls.setdefault(name, []).append(point)
            return self._strike(name, point)

    def _strike(self, name: str, point: Point) -> Fault | None:
        if name not in self.strikes:
            return None
        wanted, action, times = self.strikes[name]
        same = replace(point, nth=wanted.nth) == wanted
        if not same or not wanted.nth <= point.nth < wanted.nth + times:
            return None
        self.struck.add(name)
        return parse_action(action, stall_seconds=STALL_SECONDS)


def _subject(service: str, text: str) -> str:
    if service == "pubsub":
        found = _EVENT.search(text)
        return found[1] if found else ""
    if service != "storage":
        return ""
    bare = _CASE.sub("case-N", text).removeprefix("saxflow-")
    return _NUMBERS.sub(lambda found: (found[1] or "") + "G", bare)
