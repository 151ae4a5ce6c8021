"""A deployment's events as a person follows them: one line each, progress with rate and ETA."""

from __future__ import annotations

import time

import click

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
    eta = progress.get("eta_seconds")
    return (
        f"{progress['bytes_done'] / 1e9:.2f} of {progress['bytes_total'] / 1e9:.2f} GB,"
        f" {progress['bytes_per_second'] / 1e9:.2f} GB/s"
        + (f", ETA {eta:.0f} s" if eta is not None else "")
    )
