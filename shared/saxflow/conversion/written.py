"""What is remembered of an object that was written."""

from __future__ import annotations

from dataclasses import dataclass

from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import Buffer, crc32c_text


@dataclass(frozen=True)
class Written:
    """One finished object: its name below the step directory, size and base64 crc32c."""

    name: str
    size_bytes: int
    crc32c: str

    @classmethod
    def of(cls, name: str, data: Buffer) -> Written:
        """Describe an object by its content."""
        return cls(name, memoryview(data).nbytes, crc32c_text(crc32c(data)))
