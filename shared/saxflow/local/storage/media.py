"""What the JSON and the XML API share: a call, receiving media with its faults, sending media."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from google.api_core import exceptions

from saxflow.local.faults import Fault
from saxflow.local.http import Dropped, FileSlice, Request, Response
from saxflow.local.storage.payload import PIECE_BYTES, promised_hashes
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.ranges import parse_range
from saxflow.local.storage.resources import ObjectRecord
from saxflow.local.storage.store import Store


@dataclass(frozen=True)
class Call:
    """One request to an operation of the storage server.

    Args:
        names: what the route found in the path, decoded: bucket, object, ...
        root: URL of the server as the client knows it.
        fault: what shall go wrong with media, None for nothing.
        stopping: set when the server ends.
    """

    request: Request
    names: tuple[str, ...]
    root: str
    fault: Fault | None
    stopping: threading.Event

    def first(self, name: str) -> str | None:
        """Return a query parameter."""
        return self.request.first(name)

    def header(self, name: str) -> str:
        """Return a header, empty when absent."""
        return self.request.headers.get(name) or ""

    def pieces(self, read: Callable[[int], bytes] | None = None) -> Iterator[bytes]:
        """Yield the body in pieces, with the call's fault on the way."""
        read = read or self.request.body.read
        return self.with_fault(iter(lambda: read(PIECE_BYTES), b""))

    def with_fault(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Pass media on, corrupted or ended early where a fault says so."""
        fault = self.fault
        if fault is None:
            return pieces
        if fault.kind == "corrupted-data":
            return _corrupted(pieces)
        return _ended(pieces, fault, self.stopping)

    def promised(self, fields: dict[str, Any] | None = None) -> dict[str, str]:
        """Return the checksums the sender promises in metadata and headers."""
        hashes = ",".join(self.request.headers.get_all("x-goog-hash") or [])
        return promised_hashes(fields or {}, hashes, self.header("Content-MD5"))


def send_media(
    store: Store,
    call: Call,
    *,
    generation: int | None,
    conditions: Preconditions,
    refusal: Callable[[exceptions.GoogleAPICallError], Response],
    check: Callable[[ObjectRecord], None] = lambda _: None,
) -> Response:
    """Answer an object's bytes, whole or a range.

    Args:
        refusal: the API's words for a range beyond the end.
        check: raises when the object is not one to be sent.

    Raises:
        NotFound, PreconditionFailed, NotModified.
    """
    bucket, name = call.names[:2]
    record, file = store.open(bucket, name, generation=generation, conditions=conditions)
    try:
        check(record)
        part = parse_range(call.header("Range") or None, record.size)
    except exceptions.RequestRangeNotSatisfiable as error:
        file.close()
        refused = refusal(error)
        refused.headers["Content-Range"] = f"bytes */{record.size}"
        return refused
    except BaseException:
        file.close()
        raise
    headers = media_headers(record)
    if part.partial:
        headers["Content-Range"] = part.content_range(record.size)
    status = 206 if part.partial else 200
    response = Response(status, headers, FileSlice(file, part.offset, part.length))
    return _with_media_fault(response, call.fault)


def media_headers(record: ObjectRecord) -> dict[str, str]:
    """Return the headers of an answer with an object's bytes."""
    hashes = f"crc32c={record.crc32c}" + (f",md5={record.md5}" if record.md5 else "")
    headers = {
        "Content-Type": record.content_type,
        "ETag": f'"{record.etag}"',
        "Last-Modified": http_date(record.updated),
        "Accept-Ranges": "bytes",
        "X-Goog-Generation": str(record.generation),
        "X-Goog-Metageneration": str(record.metageneration),
        "X-Goog-Hash": hashes,
        "X-Goog-Storage-Class": str(record.attributes.get("storageClass", "STANDARD")),
        "X-Goog-Stored-Content-Length": str(record.size),
        "X-Goog-Stored-Content-Encoding": record.attributes.get("contentEncoding", "identity"),
    }
    for header, field in _ATTRIBUTE_HEADERS.items():
        if record.attributes.get(field):
            headers[header] = str(record.attributes[field])
    for key, value in record.metadata.items():
        headers[f"X-Goog-Meta-{key}"] = quote(value, safe=" !#$%&'()*+,-./:;<=>?@[]^_`{|}~")
    return headers


def http_date(text: str) -> str:
    """Return an RFC 3339 time as HTTP writes it."""
    return format_datetime(datetime.fromisoformat(text), usegmt=True)


_ATTRIBUTE_HEADERS = {
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
}


def _with_media_fault(response: Response, fault: Fault | None) -> Response:
    if fault is None or fault.kind in ("lost", "reset-connection"):
        return response
    if fault.kind == "corrupted-data":
        response.flip_first_byte = True
    elif fault.kind == "broken-stream":
        response.cut_after_bytes = response.length // 2
    else:
        response.cut_after_bytes = min(fault.after_bytes or 0, response.length)
    if fault.kind == "stall":
        response.hold_seconds = fault.stall_seconds
    return response


def _corrupted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"")
    if first:
        yield bytes([first[0] ^ 0xFF]) + first[1:]
    yield from pieces


def _ended(pieces: Iterator[bytes], fault: Fault, stopping: threading.Event) -> Iterator[bytes]:
    left = fault.after_bytes
    if fault.kind not in ("return", "stall", "broken-stream") or (
        left is None and fault.kind != "broken-stream"
    ):
        yield from pieces
        return
    for piece in pieces:
        limit = len(piece) // 2 if left is None else left
        if len(piece) >= limit:
            yield piece[:limit]
            break
        yield piece
        left = limit - len(piece)
    else:
        return
    if fault.kind == "return":
        raise exceptions.from_http_status(fault.status, f"scripted fault {fault.action}")
    if fault.kind == "stall":
        stopping.wait(fault.stall_seconds)
    raise Dropped
