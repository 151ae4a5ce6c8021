"""Directories of large files, local or in Cloud Storage, behind one small interface.

The converter reads ranges into its own buffers and creates objects whole; it never learns which
kind of directory it has.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Entry:
    """One file as a listing tells it.

    Args:
        size_bytes: length.
        crc32c: base64, only on gs://.
        md5: base64, only on gs:// and not for composite objects.
        generation: only on gs://.
        changed: when it last changed, RFC 3339 on gs://, nanoseconds on a local disk.
        origin: fingerprint of the conversion that created it; only on gs://.
    """

    size_bytes: int
    crc32c: str | None = None
    md5: str | None = None
    generation: str | None = None
    changed: str = ""
    origin: str = ""


class Directory(Protocol):
    """A directory tree; names are relative to it and use `/`."""

    @property
    def uri(self) -> str:
        """Return what a person would type to name it."""
        ...

    def entries(self, prefix: str = "", *, recursive: bool = True) -> dict[str, Entry]:
        """Return every file whose name starts with the prefix; empty when there is none."""
        ...

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Return a range, shorter when the file ends before it does.

        Raises:
            NotFoundError: there is no such file.
        """
        ...

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        """Fill the buffer from the file.

        Raises:
            NotFoundError: there is no such file.
            IntegrityError: the file ends before the buffer is full.
        """
        ...

    def create(self, name: str, data: Sequence[Buffer], crc32c: int, *, origin: str = "") -> None:
        """Create a file whole or not at all; an equal file that exists already is left alone.

        Args:
            origin: kept beside the file where the store has a place for it.

        Raises:
            IntegrityError: a file with other content exists.
        """
        ...

    def overwrite(self, name: str, data: bytes) -> None:
        """Write a small file that has a single owner."""
        ...

    def delete(self, name: str, *, generation: str | None = None) -> None:
        """Delete a file; a missing one is no error, nor one of another generation than the given."""
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def crc32c_text(value: int) -> str:
    """Return a crc32c as Cloud Storage writes it: base64 of four big-endian bytes."""
    return b64encode(value.to_bytes(4, "big")).decode()


def crc32c_value(text: str) -> int:
    """Return the number of a base64 crc32c."""
    return int.from_bytes(b64decode(text), "big")
