"""Remember finished chunks on a local disk, where a listing tells no digest.

One line per chunk, appended after the chunk has its name. A line that a crash cut short, or whose
chunk no longer has the promised bytes, counts as absent: the chunk is converted again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from saxflow.checkpoint.local_directory import translated
from saxflow.conversion.written import Written

SUFFIX = ".journal"


class Journal:
    """The journal of one Task in a directory shared by all Tasks of a conversion."""

    def __init__(self, folder: Path, index: int, count: int) -> None:
        self._path = folder / f"{index}-of-{count}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with translated(str(self._path)):
            folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, flags, 0o666)
        self._write("\n")  # ends a line that a crash cut short

    def append(self, objects: Sequence[Written]) -> None:
        """Record finished chunks."""
        lines = (json.dumps([one.name, one.size_bytes, one.crc32c]) + "\n" for one in objects)
        self._write("".join(lines))

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._descriptor)

    def _write(self, text: str) -> None:
        with translated(str(self._path)):
            os.write(self._descriptor, text.encode())


def read_journals(folder: Path) -> Mapping[str, Written]:
    """Return what all journals of a folder say; the last line about a chunk counts."""
    found: dict[str, Written] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        for line in path.read_text("utf-8", "replace").splitlines():
            if one := _parse(line):
                found[one.name] = one
    return found


def _parse(line: str) -> Written | None:
    try:
        name, size, crc32c = json.loads(line)
        return Written(str(name), int(size), str(crc32c))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
