"""Byte ranges of downloads and of resumable uploads.

Source: RFC 9110 section 14; cloud.google.com/storage/docs/performing-resumable-uploads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from google.api_core import exceptions

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")
_DIGITS = 20


@dataclass(frozen=True)
class Slice:
    """`length` bytes from `offset`; `partial` when not the whole object was asked for."""

    offset: int
    length: int
    partial: bool = False

    def content_range(self, size: int) -> str:
        """Return the Content-Range of a partial answer."""
        return f"bytes {self.offset}-{self.offset + self.length - 1}/{size}"


def parse_range(header: str | None, size: int) -> Slice:
    """Return what a Range header asks of an object of `size` bytes; malformed ones are ignored.

    Raises:
        RequestRangeNotSatisfiable: it begins at or beyond the end.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or (match[1] == "" and match[2] == ""):
        return Slice(0, size)
    if match[1] == "":
        length = min(_number(match[2]), size)
        if length == 0:
            raise _unsatisfiable(header, size)
        return Slice(size - length, length, partial=True)
    start = _number(match[1])
    end = min(_number(match[2]), size - 1) if match[2] else size - 1
    if start >= size or end < start:
        raise _unsatisfiable(header, size)
    return Slice(start, end - start + 1, partial=True)


@dataclass(frozen=True)
class ContentRange:
    """What a chunk of a resumable upload says of itself.

    Args:
        start, end: first and last byte of the chunk, None for a status query or an empty end.
        total: size of the whole object, None while unknown.
    """

    start: int | None
    end: int | None
    total: int | None


def parse_content_range(header: str) -> ContentRange:
    """Read the Content-Range of a chunk.

    Raises:
        InvalidArgument: not of the form `bytes A-B/N`, `bytes A-B/*`, `bytes */N` or `bytes */*`,
            or A, B and N contradict each other.
    """
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        raise exceptions.InvalidArgument(f"Content-Range {header!r} cannot be parsed")
    total = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return ContentRange(None, None, total)
    start, end = int(match[1]), int(match[2])
    if end < start or (total is not None and total <= end):
        raise exceptions.InvalidArgument(f"Content-Range {header!r} contradicts itself")
    return ContentRange(start, end, total)


def _number(digits: str) -> int:
    """Return a position; one of more digits than any object has bytes is cut, but stays beyond."""
    return int(digits.lstrip("0")[:_DIGITS] or "0")


def _unsatisfiable(header: str | None, size: int) -> exceptions.GoogleAPICallError:
    return exceptions.from_http_status(416, f"Range {header!r} of an object of {size} bytes")
