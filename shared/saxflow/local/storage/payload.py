"""Bytes on their way into the store: a file in the bucket's directory and its running checksums.

md5 runs at half a gigabyte per second, so it is taken in passing only for small objects and for
those whose sender names one; otherwise it is computed when somebody asks for that object.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import google_crc32c
from google.api_core import exceptions

from saxflow.local.storage.resources import no_such_bucket

MD5_IN_PASSING_BYTES = 16 << 20
PIECE_BYTES = 1048576


class Payload:
    """A file being filled; it is open only while bytes arrive.

    Args:
        path: where; must not exist.
        with_md5: take the md5 whatever the size.

    Raises:
        NotFound: its bucket was deleted; so says every method that needs the file.
    """

    def __init__(self, path: Path, *, with_md5: bool = False) -> None:
        self.path = path
        self.size = 0
        self._crc = 0
        self._always = with_md5
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._md5_valid = True
        self._opened("x").close()

    def fill(self, pieces: Iterable[bytes]) -> None:
        """Append every piece; those before a failure stay received.

        Raises:
            OSError: the disk is full.
        """
        with self._opened("r+") as file:
            file.truncate(self.size)
            file.seek(self.size)
            for piece in pieces:
                _write(file, piece)
                self._count(piece)

    def pieces(self) -> Iterator[bytes]:
        """Yield what was received, in bounded pieces."""
        with self._opened("r") as file:
            yield from file_pieces(file)

    def _opened(self, mode: str) -> FileIO:
        try:
            return FileIO(self.path, mode)
        except FileNotFoundError:
            raise no_such_bucket() from None

    def _count(self, piece: bytes) -> None:
        self._crc = google_crc32c.extend(self._crc, piece)
        self.size += len(piece)
        if self._md5_valid and (self._always or self.size <= MD5_IN_PASSING_BYTES):
            self._md5.update(piece)
        else:
            self._md5_valid = False

    @property
    def crc32c(self) -> str:
        """base64 of the big-endian checksum so far."""
        return base64.b64encode(self._crc.to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        """base64 of the digest so far, empty when it was not taken."""
        return base64.b64encode(self._md5.digest()).decode() if self._md5_valid else ""

    def check(self, promised: Mapping[str, str]) -> None:
        """Compare with the checksums the sender promised, by `crc32c` and `md5`.

        Raises:
            InvalidArgument: one differs.
        """
        crc, md5 = promised.get("crc32c"), promised.get("md5")
        if crc and crc != self.crc32c:
            raise _mismatch("CRC32C", crc, self.crc32c)
        if md5:
            actual = self.md5 or md5_of(self.path)
            if md5 != actual:
                raise _mismatch("MD5 hash", md5, actual)

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def md5_of(path: Path) -> str:
    """Return the base64 md5 of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()


def file_pieces(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of an open file in bounded pieces."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while piece := file.read(PIECE_BYTES):
        yield piece


def promised_hashes(fields: Mapping[str, str], goog_hash: str, content_md5: str) -> dict[str, str]:
    """Return the checksums a sender promises.

    Args:
        fields: the object's JSON metadata (`crc32c`, `md5Hash`).
        goog_hash: `x-goog-hash` headers, joined by commas.
        content_md5: the `Content-MD5` header.
    """
    promised: dict[str, str] = {}
    if fields.get("crc32c"):
        promised["crc32c"] = fields["crc32c"]
    if fields.get("md5Hash") or content_md5:
        promised["md5"] = fields.get("md5Hash") or content_md5
    for part in goog_hash.split(","):
        kind, _, value = part.strip().partition("=")
        if kind in ("crc32c", "md5") and value:
            promised[kind] = value
    return promised


def _write(file: FileIO, piece: bytes) -> None:
    """Write a whole piece: a disk that fills up takes the first part of it without an error."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _mismatch(what: str, promised: str, actual: str) -> exceptions.InvalidArgument:
    return exceptions.InvalidArgument(
        f'Provided {what} "{promised}" doesn\'t match calculated {what} "{actual}".'
    )
