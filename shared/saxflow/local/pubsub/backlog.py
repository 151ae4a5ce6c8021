"""What one subscription has still to deliver: order per key, deadlines, redelivery.

Messages of one ordering key reach one consumer at a time, in order; when one of them is nacked or
its deadline passes, it and everything delivered after it under that key is delivered again. State
only: no sockets, no threads of its own.

Source: cloud.google.com/pubsub/docs/ordering, .../docs/lease-management.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from google.pubsub_v1 import types

from saxflow.local.clock import Clock

_WAIT_SECONDS = 0.1


@dataclass
class Entry:
    """One message on its way to one subscription.

    Args:
        key: ordering key, empty when order does not matter.
        consumer: who holds it while it is outstanding.
        not_before: time before which it is not delivered again.
    """

    message: types.PubsubMessage
    sequence: int
    key: str
    attempt: int = 0
    ack_id: str = ""
    deadline: float = 0.0
    consumer: object = None
    not_before: float = 0.0


@dataclass
class _Lane:
    """The messages of one ordering key: those outstanding precede those that wait."""

    waiting: deque[Entry] = field(default_factory=deque[Entry])
    outstanding: list[Entry] = field(default_factory=list[Entry])


class Backlog:
    """The messages of one subscription that are not acknowledged."""

    def __init__(self, name: str, clock: Clock, *, ordered: bool) -> None:
        self._name = name
        self._clock = clock
        self._ordered = ordered
        self._changed = threading.Condition()
        self._sequence = itertools.count()
        self._deliveries = itertools.count(1)
        self._free: deque[Entry] = deque()
        self._delayed: list[tuple[float, int, Entry]] = []
        self._lanes: dict[str, _Lane] = {}
        self._outstanding: dict[str, Entry] = {}
        self._version = 0
        self.backoff: Callable[[int], float] = lambda attempt: 0.0

    def add(self, message: types.PubsubMessage) -> None:
        """Append a message."""
        with self._changed:
            key = message.ordering_key if self._ordered else ""
            entry = Entry(message, next(self._sequence), key)
            self._waiting(key).append(entry)
            self._notify()

    def take(
        self, consumer: object, limit: int, deadline_seconds: float, limit_bytes: int = 0
    ) -> list[Entry]:
        """Return messages that may be delivered now, and lease them.

        Args:
            consumer: identity of who takes them; a key stays with one until it is drained.
            limit_bytes: stop before the data exceeds this, 0 for no limit; one always passes.
        """
        with self._changed:
            self._expire()
            self._recall()
            taken: list[Entry] = []
            size = 0
            now = self._clock.time()
            for queue in self._ready_queues(consumer):
                while queue and len(taken) < limit and queue[0].not_before <= now:
                    size += len(queue[0].message.data)
                    if limit_bytes and taken and size > limit_bytes:
                        return taken
                    taken.append(self._lease(queue.popleft(), consumer, now + deadline_seconds))
            return taken

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._version

    def wait(self, since: int) -> None:
        """Return when something changed after that version, or a deadline may have passed."""
        with self._changed:
            if self._version == since:
                self._changed.wait(_WAIT_SECONDS)

    def wake(self) -> None:
        """Wake everybody who waits."""
        with self._changed:
            self._notify()

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Forget messages; unknown ids are ignored, as their lease is over."""
        with self._changed:
            for ack_id in ack_ids:
                entry = self._outstanding.pop(ack_id, None)
                if entry is not None:
                    self._release(entry)
            self._notify()

    def modify(self, ack_id: str, seconds: float) -> None:
        """Move a lease's end; 0 gives the message back at once."""
        with self._changed:
            entry = self._outstanding.get(ack_id)
            if entry is None:
                return
            if seconds > 0:
                entry.deadline = self._clock.time() + seconds
                return
            self._give_back(entry)
            self._notify()

    def held(self, consumer: object) -> tuple[int, int]:
        """Return how many messages a consumer holds, and how many bytes of data."""
        with self._changed:
            sizes = [
                len(entry.message.data)
                for entry in self._outstanding.values()
                if entry.consumer is consumer
            ]
            return len(sizes), sum(sizes)

    def purge(self, before: float) -> None:
        """Forget every message published before a time."""
        with self._changed:
            for entry in list(self._outstanding.values()):
                if _published(entry) < before:
                    del self._outstanding[entry.ack_id]
                    self._release(entry)
            self._free = _kept(self._free, before)
            self._delayed = [each for each in self._delayed if _published(each[2]) >= before]
            heapq.heapify(self._delayed)
            for key, lane in list(self._lanes.items()):
                lane.waiting = _kept(lane.waiting, before)
                self._tidy(key)
            self._notify()

    def __len__(self) -> int:
        with self._changed:
            waiting = len(self._free) + sum(len(lane.waiting) for lane in self._lanes.values())
            return waiting + len(self._delayed) + len(self._outstanding)

    def _notify(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _waiting(self, key: str) -> deque[Entry]:
        return self._lanes.setdefault(key, _Lane()).waiting if key else self._free

    def _ready_queues(self, consumer: object) -> Iterator[deque[Entry]]:
        yield self._free
        for lane in list(self._lanes.values()):
            if not lane.outstanding or lane.outstanding[0].consumer is consumer:
                yield lane.waiting

    def _lease(self, entry: Entry, consumer: object, deadline: float) -> Entry:
        entry.attempt += 1
        entry.ack_id = f"{self._name}:{next(self._deliveries)}"
        entry.consumer, entry.deadline = consumer, deadline
        self._outstanding[entry.ack_id] = entry
        if entry.key:
            self._lanes[entry.key].outstanding.append(entry)
        return entry

    def _release(self, entry: Entry) -> None:
        if entry.key:
            self._lanes[entry.key].outstanding.remove(entry)
            self._tidy(entry.key)

    def _tidy(self, key: str) -> None:
        """Forget the lane of a key that has no messages."""
        lane = self._lanes[key]
        if not lane.outstanding and not lane.waiting:
            del self._lanes[key]

    def _give_back(self, entry: Entry) -> None:
        """Put an outstanding message back, and with it those of its key that came after."""
        entry.not_before = self._clock.time() + self.backoff(entry.attempt)
        if not entry.key:
            del self._outstanding[entry.ack_id]
            heapq.heappush(self._delayed, (entry.not_before, entry.sequence, entry))
            return
        lane = self._lanes[entry.key]
        later = [each for each in lane.outstanding if each.sequence >= entry.sequence]
        for each in later:
            del self._outstanding[each.ack_id]
            lane.outstanding.remove(each)
        lane.waiting.extendleft(reversed(later))

    def _recall(self) -> None:
        """Put first, in their order, the messages without a key whose delay is over."""
        due: list[Entry] = []
        while self._delayed and self._delayed[0][0] <= self._clock.time():
            due.append(heapq.heappop(self._delayed)[2])
        self._free.extendleft(sorted(due, key=lambda each: each.sequence, reverse=True))

    def _expire(self) -> None:
        now = self._clock.time()
        expired = [entry for entry in self._outstanding.values() if entry.deadline <= now]
        for entry in sorted(expired, key=lambda each: each.sequence):
            if entry.ack_id in self._outstanding:
                self._give_back(entry)


def _kept(queue: deque[Entry], before: float) -> deque[Entry]:
    return deque(entry for entry in queue if _published(entry) >= before)


def _published(entry: Entry) -> float:
    return cast(datetime, entry.message.publish_time).timestamp()
