"""crc32c of buffers of any kind, at memory speed and without holding the interpreter lock."""

from __future__ import annotations

from typing import cast

from awscrt import checksums

from saxflow.checkpoint.directory import Buffer


def crc32c(data: Buffer, previous: int = 0) -> int:
    """Return the crc32c of `data`, continuing from `previous`."""
    return checksums.crc32c(cast(bytes, data), previous)
