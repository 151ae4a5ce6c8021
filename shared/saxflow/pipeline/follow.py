"""Follow the event log of a deployment as it grows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from saxflow import events
from saxflow.events import Event
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import event_objects, new_events

POLL_SECONDS = 0.25
_END_STATES = frozenset(events.TYPES[name].state for name in events.STREAM_ENDS)


def follow(
    services: Services, name: str, *, after: str = "0", deadline: float | None = None
) -> Iterator[Event]:
    """Yield a deployment's events as they are logged, until its newest attempt ends or the deadline.

    Args:
        after: only generations greater than this one; the newest of them is followed.
        deadline: `time.monotonic()` value to stop at; None waits for ever.
    """
    generation, seen = "", list[Event]()
    while deadline is None or time.monotonic() < deadline:
        newest = max(event_objects(services, name), key=int, default="0")
        if int(newest) > int(after) and newest != generation:
            generation, seen = newest, []
        fresh = new_events(services, name, generation, seen=len(seen)) if generation else []
        seen += fresh
        yield from fresh
        if fresh and events.fold(seen).state in _END_STATES:
            return
        time.sleep(POLL_SECONDS)
