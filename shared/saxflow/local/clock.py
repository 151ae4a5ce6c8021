"""The one door of the embedded cloud to time, so that tests can turn hours into microseconds.

Services never call `time` themselves: they are given a `Clock`. `RealClock` is the machine's;
`VirtualClock` moves only when told, or, with `auto=True`, jumps ahead whenever somebody sleeps.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

_CANCEL_CHECK_SECONDS = 0.02


class Clock(Protocol):
    """What every embedded service knows of time."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        ...

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        """Wait; return True when `cancel` was set before the time was over."""
        ...


class RealClock:
    """The machine's clock."""

    def time(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        """Wait; return True when `cancel` was set before the time was over."""
        return (cancel or threading.Event()).wait(min(max(seconds, 0.0), threading.TIMEOUT_MAX))


class VirtualClock:
    """A clock that moves by `advance`, or by itself whenever somebody sleeps.

    Args:
        start: seconds since the epoch.
        auto: a sleeper moves the clock to its own waking time and returns at once.
    """

    def __init__(self, start: float = 1_800_000_000.0, *, auto: bool = False) -> None:
        self._now = start
        self._auto = auto
        self._moved = threading.Condition()

    def time(self) -> float:
        """Return seconds since the epoch."""
        with self._moved:
            return self._now

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.fromtimestamp(self.time(), UTC)

    def advance(self, seconds: float) -> None:
        """Move time forward and wake every sleeper whose time has come."""
        with self._moved:
            self._now += seconds
            self._moved.notify_all()

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        """Wait in virtual time; return True when `cancel` was set before the time was over."""
        with self._moved:
            wake = self._now + max(seconds, 0.0)
            if self._auto:
                self._now = wake
                self._moved.notify_all()
            while self._now < wake:
                if cancel is not None and cancel.is_set():
                    return True
                self._moved.wait(_CANCEL_CHECK_SECONDS if cancel is not None else None)
        return cancel is not None and cancel.is_set()
