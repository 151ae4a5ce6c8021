"""Cloud Scheduler: an HTTP POST at fixed intervals."""

from __future__ import annotations

import http.client
import logging
import threading
from dataclasses import dataclass

from saxflow.local.clock import Clock
from saxflow.local.delivery import post

_LOG = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True)
class Schedule:
    """What to POST where, and how often; the first one an interval after the start.

    Args:
        every_seconds: more than 0.
    """

    name: str
    url: str
    every_seconds: float
    body: bytes = b"{}"


class Scheduler:
    """The schedules of one embedded cloud, each in a thread; a late one skips, never overlaps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()

    def add(self, schedule: Schedule) -> None:
        """Begin a schedule."""
        threading.Thread(
            target=self._run, args=(schedule,), name=f"schedule-{schedule.name}", daemon=True
        ).start()

    def stop(self) -> None:
        """End every schedule."""
        self._stopping.set()

    def _run(self, schedule: Schedule) -> None:
        pause = schedule.every_seconds
        while not self._clock.sleep(pause, self._stopping):
            begun = self._clock.time()
            _tick(schedule)
            pause = schedule.every_seconds - (self._clock.time() - begun) % schedule.every_seconds


def _tick(schedule: Schedule) -> None:
    headers = {"Content-Type": "application/json", "X-CloudScheduler": "true"}
    try:
        status = post(schedule.url, schedule.body, headers, _TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException) as error:
        _LOG.warning("schedule %s: %s", schedule.name, error)
        return
    if status >= 300:
        _LOG.warning("schedule %s: %s answered %d", schedule.name, schedule.url, status)
