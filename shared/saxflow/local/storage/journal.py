"""What a bucket holds, as an append-only file of JSON lines.

One line per change, written in one call: a killed server leaves at most a torn last line, which
the next start drops together with data files that no line names. A line that finds no room on the
disk is taken back, so that none is ever torn in the middle.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saxflow.local.replacing import replace_file
from saxflow.local.storage.resources import ObjectRecord


class Journal:
    """The changes of one bucket's objects.

    Attributes:
        lines: how many changes the file holds.
    """

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self._path = path
        self._file: int | None = None

    def load(self) -> dict[str, ObjectRecord]:
        """Return the live objects by name, and rewrite the journal with nothing else in it."""
        live: dict[str, ObjectRecord] = {}
        for entry in self._entries():
            if "put" in entry:
                record = ObjectRecord(**entry["put"])
                live[record.name] = record
            else:
                live.pop(entry["delete"], None)
        self.rewrite(live.values())
        return live

    def rewrite(self, live: Iterable[ObjectRecord]) -> None:
        """Replace every change by the records that live.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        lines = [_line({"put": asdict(record)}) for record in live]
        replace_file(self._path, b"".join(lines))
        self.close()
        self.lines = len(lines)

    def put(self, record: ObjectRecord) -> None:
        """Write down that this is now the live generation of its name.

        Raises:
            OSError: it cannot be written; nothing of it stays.
        """
        self._append({"put": asdict(record)})

    def delete(self, name: str) -> None:
        """Write down that the name holds nothing now.

        Raises:
            OSError: it cannot be written; nothing of it stays.
        """
        self._append({"delete": name})

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _entries(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)

    def _append(self, entry: dict[str, Any]) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        line, end = _line(entry), os.fstat(self._file).st_size
        if os.write(self._file, line) < len(line):
            os.ftruncate(self._file, end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self.lines += 1


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
