"""One bucket: its record, its live objects, and the directory where both are kept."""

from __future__ import annotations

import threading
import uuid
from bisect import bisect_left, insort
from pathlib import Path

from google.api_core import exceptions

from saxflow.local.storage.journal import Journal
from saxflow.local.storage.resources import BucketRecord, ObjectRecord


def no_such_bucket() -> exceptions.NotFound:
    """Return what every call on a bucket that does not exist is answered."""
    return exceptions.NotFound(
        "The specified bucket does not exist.", errors=[{"reason": "NoSuchBucket"}]
    )


class Bucket:
    """One bucket: its record, its live objects and the directory they are in."""

    def __init__(self, record: BucketRecord, directory: Path) -> None:
        self.record = record
        self.lock = threading.RLock()
        self.deleted = False
        self._data = directory / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        self.journal = Journal(directory / "journal.jsonl")
        self.live = self.journal.load()
        self.names = sorted(self.live)
        self._sweep()

    def path(self, file: str) -> Path:
        """Return where a data file is."""
        return self._data / file

    def new_path(self) -> Path:
        """Return a path for new data."""
        return self._data / uuid.uuid4().hex

    def check_alive(self) -> None:
        """Raise NotFound when the bucket was deleted meanwhile. Needs the lock."""
        if self.deleted:
            raise no_such_bucket()

    def put(self, record: ObjectRecord) -> ObjectRecord | None:
        """Make a record the live one; return the one before. Needs the lock."""
        previous = self.live.get(record.name)
        self.journal.put(record)
        self.live[record.name] = record
        if previous is None:
            insort(self.names, record.name)
        elif previous.file != record.file:
            self.path(previous.file).unlink(missing_ok=True)
        return previous

    def remove(self, record: ObjectRecord) -> None:
        """Forget a live record. Needs the lock."""
        self.journal.delete(record.name)
        del self.live[record.name]
        del self.names[bisect_left(self.names, record.name)]
        self.path(record.file).unlink(missing_ok=True)

    def _sweep(self) -> None:
        known = {record.file for record in self.live.values()}
        for path in self._data.iterdir():
            if path.name not in known:
                path.unlink()
