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
    """What to POST where, and how often; the first one an interval after the start."""

    name: str
    url: str
    every_seconds: float
    body: bytes = b"{}"


class Scheduler:
    """The schedules of one embedded cloud, each in a thread; a late one skips, never overlaps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, schedule: Schedule) -> None:
        """Begin a schedule."""
        thread = threading.Thread(
            target=self._run, args=(schedule,), name=f"schedule-{schedule.name}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """End every schedule."""
        self._stopping.set()

    def _run(self, schedule: Schedule) -> None:
        headers = {"Content-Type": "application/json", "X-CloudScheduler": "true"}
        while not self._clock.sleep(schedule.every_seconds, self._stopping):
            try:
                status = post(schedule.url, schedule.body, headers, _TIMEOUT_SECONDS)
            except (OSError, http.client.HTTPException) as error:
                _LOG.warning("schedule %s: %s", schedule.name, error)
                continue
            if status >= 300:
                _LOG.warning("schedule %s: %s answered %d", schedule.name, schedule.url, status)
