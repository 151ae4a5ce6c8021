"""One bucket: its record, its live objects, and the directory where both are kept."""

from __future__ import annotations

import threading
import uuid
from bisect import bisect_left, insort
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from saxflow.local.storage.journal import Journal
from saxflow.local.storage.resources import BucketRecord, ObjectRecord, no_such_bucket

LEAST_LINES = 10_000
"""A journal of fewer changes is left to grow, however few objects live."""


class Bucket:
    """One bucket: its record, its live objects and the directory they are in.

    Attributes:
        lock: whoever looks at several of the others, or needs them to stay as they are, holds it.
        closed: it was deleted, or its store was closed: nothing changes any more.
    """

    def __init__(self, record: BucketRecord, directory: Path) -> None:
        self.record = record
        self.lock = threading.RLock()
        self.closed = False
        self._data = directory / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(directory / "journal.jsonl")
        self.live = self._journal.load()
        self.names = sorted(self.live)
        self._sweep()

    def path(self, file: str) -> Path:
        """Return where a data file is."""
        return self._data / file

    def new_path(self) -> Path:
        """Return a path for new data."""
        return self._data / uuid.uuid4().hex

    @contextmanager
    def changing(self) -> Generator[None]:
        """Hold the lock for a change.

        Raises:
            NotFound: the bucket was deleted meanwhile.
        """
        with self.lock:
            if self.closed:
                raise no_such_bucket()
            yield

    def close(self) -> None:
        """End every change, and release the journal."""
        with self.lock:
            self.closed = True
            self._journal.close()

    def put(self, record: ObjectRecord) -> ObjectRecord | None:
        """Make a record the live one; return the one before. Only while `changing`.

        Raises:
            NotFound: its data went with an earlier bucket of this name.
            OSError: it cannot be written down; nothing has changed.
        """
        if not self.path(record.file).exists():
            raise no_such_bucket()
        if self._journal.lines >= max(LEAST_LINES, 4 * len(self.live)):
            self._journal.rewrite(self.live.values())
        previous = self.live.get(record.name)
        self._journal.put(record)
        self.live[record.name] = record
        if previous is None:
            insort(self.names, record.name)
        elif previous.file != record.file:
            self._drop(previous.file)
        return previous

    def remove(self, record: ObjectRecord) -> None:
        """Forget a live record. Only while `changing`.

        Raises:
            OSError: it cannot be written down; nothing has changed.
        """
        self._journal.delete(record.name)
        del self.live[record.name]
        del self.names[bisect_left(self.names, record.name)]
        self._drop(record.file)

    def _drop(self, file: str) -> None:
        with suppress(OSError):  # what stays is swept at the next start
            self.path(file).unlink()

    def _sweep(self) -> None:
        known = {record.file for record in self.live.values()}
        for path in self._data.iterdir():
            if path.name not in known:
                path.unlink()
