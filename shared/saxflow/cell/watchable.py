"""A set of addresses whose changes can be followed by number.

Source: google/saxml v1.1.0 `common/watchable.go`.
"""

from __future__ import annotations

import asyncio

from saxflow.sax import messages as m


class Watchable:
    """Where the replicas of one model are.

    Every change has the next number; the log is packed into `base` when it outgrows the set.
    """

    def __init__(self) -> None:
        self._base: dict[str, None] = {}
        self._log: list[tuple[bool, str]] = []
        self._next = 0
        self._closed = False
        self._changed = asyncio.Event()

    def add(self, address: str) -> None:
        """Record that `address` serves."""
        self._record(True, address)

    def discard(self, address: str) -> None:
        """Record that `address` serves no longer."""
        self._record(False, address)

    def close(self) -> None:
        """Tell every watcher to forget what it knows."""
        self._closed = True
        self._notify()

    async def watch(self, seqno: int) -> m.WatchResult:
        """Return the changes from `seqno` on, waiting for one when there is none."""
        while not self._closed and seqno == self._next:
            await self._changed.wait()
        return self._result(seqno)

    def _result(self, seqno: int) -> m.WatchResult:
        if self._closed:
            return m.WatchResult(has_fullset=True)
        oldest = self._next - len(self._log)
        result = m.WatchResult(next_seqno=self._next, has_fullset=seqno < oldest)
        if result.has_fullset:
            result.values.extend(self._base)
        for added, address in self._log[max(seqno - oldest, 0) :]:
            change = {"addition": address} if added else {"deletion": address}
            result.changelog.add(**change)
        return result

    def _record(self, added: bool, address: str) -> None:
        self._log.append((added, address))
        self._next += 1
        self._pack()
        self._notify()

    def _pack(self) -> None:
        if len(self._log) < 2 or len(self._log) <= 2 * len(self._base):
            return
        half = len(self._log) // 2
        for added, address in self._log[:half]:
            if added:
                self._base[address] = None
            else:
                self._base.pop(address, None)
        del self._log[:half]

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
