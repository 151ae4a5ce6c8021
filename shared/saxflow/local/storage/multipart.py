"""`multipart/related` uploads as a stream: a JSON part, then media of any size.

Source: cloud.google.com/storage/docs/uploading-objects, RFC 2387. Line ends may be bare LF, as
some clients send them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from email.parser import BytesParser

from google.api_core import exceptions

from saxflow.local.storage.payload import PIECE_BYTES
from saxflow.local.storage.resources import json_object

_HEAD_LIMIT_BYTES = 1 << 20
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")

Read = Callable[[int], bytes]


def boundary_of(content_type: str) -> bytes:
    """Return the boundary of a multipart media type.

    Raises:
        InvalidArgument: there is none.
    """
    match = re.search(r"boundary=(?:\"([^\"]+)\"|'([^']+)'|([^;\s]+))", content_type)
    if match is None:
        raise exceptions.InvalidArgument(f"content type {content_type!r} names no boundary")
    return b"--" + next(group for group in match.groups() if group).encode()


class MultipartUpload:
    """The two parts of an upload; reading the media consumes the body.

    Args:
        read: returns up to so many bytes of the body, empty at its end.
    """

    def __init__(self, read: Read, content_type: str) -> None:
        self._read = read
        self._buffer = b""
        self._boundary = boundary_of(content_type)
        self._skip_past(self._boundary)
        _, body = self._part()
        self.metadata = json_object(body)
        headers, self._buffer = self._media_headers()
        self.content_type = headers.get("content-type", "")

    def media(self) -> Iterator[bytes]:
        """Yield the media in pieces.

        Raises:
            InvalidArgument: the closing boundary is missing.
        """
        delimiter = b"\n" + self._boundary
        keep = len(delimiter) + 1
        while (at := self._buffer.find(delimiter)) < 0:
            if len(self._buffer) > keep:
                yield self._buffer[:-keep]
                self._buffer = self._buffer[-keep:]
            self._more()
        yield self._buffer[:at].removesuffix(b"\r")

    def _part(self) -> tuple[dict[str, str], bytes]:
        delimiter = b"\n" + self._boundary
        while (at := self._buffer.find(delimiter)) < 0:
            self._more(limited=True)
        part, self._buffer = self._buffer[:at], self._buffer[at + len(delimiter) :]
        return _split(part.removesuffix(b"\r"))

    def _media_headers(self) -> tuple[dict[str, str], bytes]:
        # The blank line after the headers, or the delimiter directly when the media is empty.
        while _BLANK_LINE.search(self._buffer) is None:
            self._more(limited=True)
        headers, rest = _split(self._buffer)
        return headers, b"\n" + rest if rest.startswith(self._boundary) else rest

    def _skip_past(self, mark: bytes) -> None:
        while (at := self._buffer.find(mark)) < 0:
            self._more(limited=True)
        self._buffer = self._buffer[at + len(mark) :]

    def _more(self, *, limited: bool = False) -> None:
        if limited and len(self._buffer) > _HEAD_LIMIT_BYTES:
            raise exceptions.InvalidArgument("the metadata part of the multipart body is too large")
        piece = self._read(PIECE_BYTES)
        if not piece:
            raise exceptions.InvalidArgument("the multipart body ends before its closing boundary")
        self._buffer += piece


def _split(part: bytes) -> tuple[dict[str, str], bytes]:
    blank = _BLANK_LINE.search(part)
    if blank is None:
        return {}, part
    headers = BytesParser().parsebytes(part[: blank.end()].lstrip())
    return {key.lower(): value for key, value in headers.items()}, part[blank.end() :]
