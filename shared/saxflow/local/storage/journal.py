"""What a bucket holds, as an append-only file of JSON lines.

One line per change, written in one call: a killed server leaves at most a torn last line, which
the next start drops together with data files that no line names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saxflow.local.replacing import replace_file
from saxflow.local.storage.resources import ObjectRecord


class Journal:
    """The changes of one bucket's objects."""

    def __init__(self, path: Path) -> None:
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
        lines = (_line({"put": asdict(record)}) for record in live.values())
        replace_file(self._path, b"".join(lines))
        return live

    def put(self, record: ObjectRecord) -> None:
        """Write down that this is now the live generation of its name."""
        self._append({"put": asdict(record)})

    def delete(self, name: str) -> None:
        """Write down that the name holds nothing now."""
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
        os.write(self._file, _line(entry))


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"
