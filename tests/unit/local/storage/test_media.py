"""Calls, media on the way in and out, and what scripted faults do to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedReader, BytesIO
from pathlib import Path

import pytest
from google.api_core import exceptions

from saxflow.local.clock import VirtualClock
from saxflow.local.faults import parse_action
from saxflow.local.http import Body, Dropped, FileSlice, Request, Response
from saxflow.local.storage.json_api import error_json
from saxflow.local.storage.media import Call, http_date, media_headers, send_media
from saxflow.local.storage.payload import PIECE_BYTES
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.resources import ObjectRecord
from saxflow.local.storage.store import ANY, Store

RECORD = ObjectRecord(
    "buck", "o", 5, 2, "f", 3, "AAAAAA==", "", "2026-01-02T03:04:05.600000Z", "2026-01-02T03:04:05.600000Z"
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, VirtualClock())
    store.create_bucket("buck", "p", {})
    payload = store.payload("buck")
    payload.fill([b"0123456789"])
    store.commit("buck", "o", payload, {}, ANY)
    yield store
    store.close()


def call(fault: str = "", *, body: bytes = b"", stopping: bool = False, **headers: str) -> Call:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    if body:
        message["Content-Length"] = str(len(body))
    request = Request("GET", "/p", {}, message, Body(BufferedReader(BytesIO(body)), message))
    event = threading.Event()
    if stopping:
        event.set()
    action = parse_action(fault, stall_seconds=60) if fault else None
    return Call(request, ("buck", "o"), "http://host", action, event)


def sent(response: Response) -> bytes:
    """Return the bytes that an answer stands for, and close its file."""
    assert isinstance(response.body, FileSlice)
    with response.body.file as file:
        file.seek(response.body.offset)
        return file.read(response.body.length)


def send(store: Store, asked: Call, conditions: Preconditions = ANY) -> Response:
    return send_media(store, asked, generation=None, conditions=conditions, refusal=error_json)


# Calls


def test_headers_and_parameters_that_are_missing() -> None:
    asked = call(Range="bytes=0-1")
    assert (asked.header("range"), asked.header("Content-Type")) == ("bytes=0-1", "")
    assert asked.first("generation") is None
    assert asked.promised() == {}


def test_promises_come_from_metadata_and_headers() -> None:
    asked = call(x_goog_hash="crc32c=A, md5=B", Content_MD5="C")
    assert asked.promised() == {"crc32c": "A", "md5": "B"}
    assert call(Content_MD5="C").promised({"md5Hash": "D"}) == {"md5": "D"}
    assert call(x_goog_hash="sha1=A,,crc32c=").promised({"crc32c": "E"}) == {"crc32c": "E"}


def test_two_hash_headers_count_both() -> None:
    asked = call(x_goog_hash="crc32c=A")
    asked.request.headers["X-Goog-Hash"] = "md5=B"
    assert asked.promised() == {"crc32c": "A", "md5": "B"}


def test_bodies_come_in_bounded_pieces() -> None:
    body = b"x" * (2 * PIECE_BYTES + 1)
    pieces = list(call(body=body).pieces())
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) <= PIECE_BYTES
    assert list(call().pieces()) == []


# Media on the way in


def test_corrupted_media_differs_in_its_first_byte() -> None:
    asked = call("return-corrupted-data")
    assert list(asked.with_fault(iter([b"ab", b"cd"]))) == [bytes([ord("a") ^ 0xFF]) + b"b", b"cd"]
    assert list(asked.with_fault(iter([]))) == []


def test_an_upload_that_fails_after_some_kibibytes() -> None:
    received: list[bytes] = []
    pieces = call("return-503-after-1K").with_fault(iter([b"x" * 1000, b"y" * 1000]))
    with pytest.raises(exceptions.ServiceUnavailable, match="return-503-after-1K"):
        received.extend(iter(lambda: next(pieces), None))
    assert b"".join(received) == b"x" * 1000 + b"y" * 24
    whole = call("return-503-after-1K").with_fault(iter([b"x" * 1000]))
    assert list(whole) == [b"x" * 1000], "an upload that ends before is spared"


@pytest.mark.parametrize(
    ("fault", "kept"), [("return-broken-stream", 5), ("stall-at-0KiB", 0), ("stall-at-1KiB", 1024)]
)
def test_an_upload_whose_connection_ends(fault: str, kept: int) -> None:
    received: list[bytes] = []
    size = 10 if fault == "return-broken-stream" else 2000
    pieces = call(fault, stopping=True).with_fault(iter([b"x" * size]))
    with pytest.raises(Dropped):
        received.extend(iter(lambda: next(pieces), None))
    assert len(b"".join(received)) == kept


@pytest.mark.parametrize("fault", ["execute-and-timeout", "stall-always", "return-500"])
def test_faults_that_are_not_of_media_let_it_pass(fault: str) -> None:
    assert list(call(fault).with_fault(iter([b"a", b"b"]))) == [b"a", b"b"]


# Media on the way out


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        ("", 200, b"0123456789", None),
        ("bytes=2-3", 206, b"23", "bytes 2-3/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
        (f"bytes=0-{'9' * 5000}", 206, b"0123456789", "bytes 0-9/10"),
        (f"bytes=-{'9' * 5000}", 206, b"0123456789", "bytes 0-9/10"),
        (f"bytes={'0' * 5000}1-1", 206, b"1", "bytes 1-1/10"),
        ("bytes=x-y", 200, b"0123456789", None),
        ("bytes=--1", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
    ],
)
def test_ranges(
    store: Store, header: str, status: int, body: bytes, content_range: str | None
) -> None:
    answer = send(store, call(Range=header))
    assert (answer.status, sent(answer)) == (status, body)
    assert answer.headers.get("Content-Range") == content_range


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_ranges_beyond_the_end(store: Store, header: str) -> None:
    answer = send(store, call(Range=header))
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */10")
    assert b"of an object of 10 bytes" in bytes(answer.body)  # type: ignore[arg-type]


def test_an_object_that_is_missing_or_another(store: Store) -> None:
    with pytest.raises(exceptions.NotFound, match="buck/o#1"):
        send_media(store, call(), generation=1, conditions=ANY, refusal=error_json)
    with pytest.raises(exceptions.PreconditionFailed, match="ifGenerationMatch is 1"):
        send(store, call(), Preconditions(1))
    store.delete("buck", "o")
    with pytest.raises(exceptions.NotFound, match="No such object: buck/o"):
        send(store, call())


@pytest.mark.parametrize(
    ("fault", "cut", "held", "flipped"),
    [
        ("return-corrupted-data", None, 0.0, True),
        ("return-broken-stream", 5, 0.0, False),
        ("stall-at-0KiB", 0, 60.0, False),
        ("stall-at-1KiB", 10, 60.0, False),
        ("return-503-after-1K", 10, 0.0, False),
        ("execute-and-timeout", None, 0.0, False),
        ("return-reset-connection", None, 0.0, False),
    ],
)
def test_faults_on_the_way_out(
    store: Store, fault: str, cut: int | None, held: float, *, flipped: bool
) -> None:
    answer = send(store, call(fault))
    sent(answer)
    assert (answer.cut_after_bytes, answer.hold_seconds, answer.flip_first_byte) == (
        cut,
        held,
        flipped,
    )


# Headers


def test_headers_of_media() -> None:
    headers = media_headers(RECORD)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Goog-Hash"] == "crc32c=AAAAAA=="
    assert (headers["X-Goog-Generation"], headers["X-Goog-Metageneration"]) == ("5", "2")
    assert headers["X-Goog-Stored-Content-Length"] == "3"
    assert headers["X-Goog-Stored-Content-Encoding"] == "identity"
    assert headers["Last-Modified"] == "Fri, 02 Jan 2026 03:04:05 GMT"
    assert "Cache-Control" not in headers


def with_fields(change: Callable[[dict[str, object]], None]) -> ObjectRecord:
    fields: dict[str, object] = {}
    change(fields)
    return RECORD.patched(fields, updated=RECORD.updated, whole=True)


def test_attributes_and_metadata_become_headers() -> None:
    record = with_fields(
        lambda fields: fields.update(
            contentType="text/plain",
            cacheControl="no-store",
            contentDisposition="inline",
            contentEncoding="gzip",
            contentLanguage="de",
            storageClass="COLD",
            metadata={"plain": "a=b; c", "other": "été\r\nX: y"},
        )
    )
    headers = media_headers(record)
    assert headers["Content-Type"] == "text/plain"
    assert headers["X-Goog-Storage-Class"] == "COLD"
    assert headers["Content-Encoding"] == headers["X-Goog-Stored-Content-Encoding"] == "gzip"
    assert headers["X-Goog-Meta-plain"] == "a=b; c"
    assert headers["X-Goog-Meta-other"] == "%C3%A9t%C3%A9%0D%0AX: y"


def test_dates() -> None:
    assert http_date("1970-01-01T00:00:00.999999Z") == "Thu, 01 Jan 1970 00:00:00 GMT"
