"""A bounded queue before the model servers: so many at work, so many waiting, the rest refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from saxflow.errors import BusyError


class Admission:
    """Counts requests at work and waiting.

    Args:
        max_active: requests at work at once.
        max_waiting: requests that may wait.
    """

    def __init__(self, max_active: int, max_waiting: int) -> None:
        self._max_active = max_active
        self._max_waiting = max_waiting
        self._free = asyncio.Semaphore(max_active)
        self.active = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Hold a place at work; waits for one in the order of arrival.

        Raises:
            BusyError: too many wait already.
        """
        if self._free.locked() and self.waiting >= self._max_waiting:
            raise BusyError(
                f"{self.active} requests are at work and {self.waiting} wait; try again soon"
            )
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self._free.release()
