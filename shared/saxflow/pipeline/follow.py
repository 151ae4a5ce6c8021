"""Follow the event log of a deployment as it grows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from saxflow import events
from saxflow.events import Event
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import event_objects, new_events

POLL_SECONDS = 0.25


def follow(
    services: Services, name: str, *, after: str = "0", deadline: float | None = None
) -> Iterator[Event]:
    """Yield a deployment's events as they are logged, until the stream's end or the deadline.

    Args:
        after: only generations greater than this one; the newest of them is followed.
        deadline: `time.monotonic()` value to stop at; None waits for ever.
    """
    generation, seen = "", 0
    while deadline is None or time.monotonic() < deadline:
        newest = max(event_objects(services, name), key=int, default="0")
        if int(newest) > int(after) and newest != generation:
            generation, seen = newest, 0
        fresh = new_events(services, name, generation, seen=seen) if generation else []
        seen += len(fresh)
        yield from fresh
        if any(event.name in events.STREAM_ENDS for event in fresh):
            return
        time.sleep(POLL_SECONDS)
