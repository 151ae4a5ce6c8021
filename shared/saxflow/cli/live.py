"""A deployment's events as a person follows them: one line each, progress with rate and ETA."""

from __future__ import annotations

import time

import click

from saxflow.cli.console import amounts
from saxflow.events import Event

_MARKS = {"failed": "✗", "rejected": "✗", "serving": "●", "deleted": "○"}


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
    return amounts(
        progress["bytes_done"],
        progress["bytes_total"],
        progress["bytes_per_second"],
        progress.get("eta_seconds"),
    )
