"""A deployment's events as a person follows them: one line each, progress with rate and ETA."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from saxflow import events
from saxflow.events import Event
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import event_objects, new_events

POLL_SECONDS = 0.25
_MARKS = {"failed": "✗", "rejected": "✗", "serving": "●", "deleted": "○"}


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


class Printer:
    """Prints events on stderr with the seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def show(self, event: Event) -> None:
        """Print one event."""
        mark = _MARKS.get(event.row.state, "·")
        seconds = time.monotonic() - self._began
        click.echo(f"{seconds:6.1f} s {mark} {event.name:<24} {_detail(event)}", err=True)


def _detail(event: Event) -> str:
    progress = event.data.get("progress")
    if not progress:
        return str(event.data["message"])
    eta = progress.get("eta_seconds")
    return (
        f"{progress['bytes_done'] / 1e9:.2f} of {progress['bytes_total'] / 1e9:.2f} GB,"
        f" {progress['bytes_per_second'] / 1e9:.2f} GB/s"
        + (f", ETA {eta:.0f} s" if eta is not None else "")
    )
