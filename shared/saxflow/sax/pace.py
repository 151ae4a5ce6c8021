"""How long to try, and how long to pause between two tries: saxutil's rules, with an end.

saxutil repeats from 10 ms, half as much longer each time and half as much by chance, without end;
here a deadline ends it, and `patience` ends it sooner when servers keep refusing.

Source: google/saxml v1.1.0 `saxml/common/retrier.go`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

from saxflow.errors import DeadlineError, SaxError

FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 1.0
FACTOR = 1.5
JITTER = 0.5


def pauses(source: random.Random) -> Iterator[float]:
    """Yield the seconds to wait before each repetition, without end."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * source.uniform(1 - JITTER, 1 + JITTER)
        pause = min(pause * FACTOR, LONGEST_PAUSE_SECONDS)


class Pace:
    """The time one call may take, repetitions included.

    Args:
        what: names the call in messages.
        deadline_seconds: from now; None waits without end.
        patience_seconds: how long retryable refusals are borne; None as long as the deadline.
    """

    def __init__(
        self,
        what: str,
        *,
        deadline_seconds: float | None,
        patience_seconds: float | None = None,
        source: random.Random | None = None,
    ) -> None:
        self.what = what
        self._started = time.monotonic()
        self._deadline = deadline_seconds
        self._patience = patience_seconds
        self._pauses = pauses(source or random.Random())

    @property
    def left_seconds(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self._elapsed)

    async def after(self, error: SaxError) -> None:
        """Wait before the next try.

        Raises:
            SaxError: the error itself, when it is final or patience has ended.
            DeadlineError: there is no time for another try.
        """
        if not error.retryable:
            raise error
        pause = next(self._pauses)
        if self._patience is not None and self._elapsed + pause > self._patience:
            raise error
        left = self.left_seconds
        if left is not None and pause >= left:
            raise self.expired(error)
        await asyncio.sleep(pause)

    def expired(self, last: BaseException | None = None) -> DeadlineError:
        """Return the exception that says the deadline has passed, and what was heard last."""
        heard = f"; last: {last}" if last is not None else ""
        return DeadlineError(f"{self.what}: no answer within {self._deadline:g} s{heard}")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started
