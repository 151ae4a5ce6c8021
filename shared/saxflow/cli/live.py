"""A deployment's events as a person follows them: one line each, progress with rate and ETA."""

from __future__ import annotations

import time

import click

from saxflow.cli.console import amounts
from saxflow.events import Event, moment

_MARKS = {"failed": "✗", "rejected": "✗", "serving": "●", "deleted": "○"}


class Printer:
    """Prints events on stderr with the seconds at which they happened.

    Args:
        began: Unix seconds from which they count, unless the first event is older; now by default.
    """

    def __init__(self, began: float | None = None) -> None:
        self._began = time.time() if began is None else began

    def show(self, event: Event) -> None:
        """Print one event."""
        happened = moment(event.time).timestamp()
        self._began = min(self._began, happened)
        mark = _MARKS.get(event.row.state, "·")
        click.echo(
            f"{happened - self._began:6.1f} s {mark} {event.name:<24} {_detail(event)}", err=True
        )


def clock(text: str) -> str:
    """Return the time that an event carries, always to the millisecond: `2026-01-01T00:00:00.000Z`."""
    return f"{moment(text).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _detail(event: Event) -> str:
    progress = event.data.get("progress")
    if not progress:
        return str(event.data["message"])
    return amounts(
        progress["bytes_done"],
        progress["bytes_total"],
        progress["bytes_per_second"],
        progress.get("eta_seconds"),
    )
