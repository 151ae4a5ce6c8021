"""Uploads: whole, in parts of a body, in chunks of a session."""

from __future__ import annotations

from typing import Any

import pytest

from .paths import ITEM, UPLOAD


def multipart(metadata: bytes, media: bytes) -> bytes:
    return (
        b"--sep\r\nContent-Type: application/json\r\n\r\n" + metadata
        + b"\r\n--sep\r\nContent-Type: text/plain\r\n\r\n" + media + b"\r\n--sep--"
    )  # fmt: skip


MULTIPART = {"Content-Type": "multipart/related; boundary=sep"}


def test_multipart_takes_name_and_type_from_its_parts(peer: Any) -> None:
    body = multipart('{"name": "é", "metadata": {"k": "v"}}'.encode(), b"a --sep is no end")
    made = peer.ask("POST", f"{UPLOAD}?uploadType=multipart", body, MULTIPART).json
    assert (made["name"], made["contentType"], made["size"]) == ("é", "text/plain", "17")
    named = multipart(b'{"name": "ignored", "contentType": "a/b"}', b"")
    made = peer.ask("POST", f"{UPLOAD}?uploadType=multipart&name=asked", named, MULTIPART).json
    assert (made["name"], made["contentType"], made["size"]) == ("asked", "a/b", "0")


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "names no boundary"),
        (b"", MULTIPART, "ends before its closing boundary"),
        (multipart(b'{"name": "o"}', b"x")[:-5], MULTIPART, "ends before its closing boundary"),
        (multipart(b"{", b"x"), MULTIPART, "Parse Error"),
        (multipart(b"[]", b"x"), MULTIPART, "Parse Error"),
        (multipart(b'{"name": "\\ud800"}', b"x"), MULTIPART, "Parse Error"),
        (multipart(b"{}", b"x"), MULTIPART, "Required parameter: name"),
        (multipart(b'{"name": "o", "metadata": 5}', b"x"), MULTIPART, "metadata must be an object"),
        (multipart(b'{"name": "o", "crc32c": "AAAAAA=="}', b"x"), MULTIPART, "CRC32C"),
        (multipart(b'{"name": "o", "crc32c": 5}', b"x"), MULTIPART, "CRC32C"),
        (multipart(b'{"name": "o", "md5Hash": "AAAA"}', b"x"), MULTIPART, "MD5"),
    ],
)
def test_multipart_uploads_that_are_refused(
    peer: Any, body: bytes, headers: dict[str, str], words: str
) -> None:
    answer = peer.ask("POST", f"{UPLOAD}?uploadType=multipart", body, headers)
    assert answer.status == 400
    assert words in answer.error["message"]
    assert peer.files() == 0


def test_a_media_upload_keeps_type_and_encoding(peer: Any) -> None:
    path = f"{UPLOAD}?uploadType=media&name=o&contentEncoding=gzip"
    made = peer.ask("POST", path, b"zipped", {"Content-Type": "text/plain"}).json
    assert (made["contentType"], made["contentEncoding"]) == ("text/plain", "gzip")


def test_promises_that_are_not_kept(peer: Any) -> None:
    for headers in ({"x-goog-hash": "crc32c=AAAAAA=="}, {"Content-MD5": "no base64"}):
        path = f"{UPLOAD}?uploadType=media&name=o"
        answer = peer.ask("POST", path, b"x", headers)
        assert answer.status == 400
        assert "doesn't match calculated" in answer.error["message"]
    assert peer.files() == 0


def test_a_session_from_start_to_end(peer: Any) -> None:
    path = f"{UPLOAD}?uploadType=resumable"
    opened = peer.ask("POST", path, {"name": "o"}, {"X-Upload-Content-Type": "text/plain"})
    session = opened.headers["Location"].removeprefix(peer.root)
    assert opened.headers["X-GUploader-UploadID"] in session
    query = {"Content-Range": "bytes */*"}
    status = peer.ask("PUT", session, b"", query)
    assert (status.status, status.headers["Range"]) == (308, None)
    chunk = b"x" * 262144
    more = peer.ask("PUT", session, chunk, {"Content-Range": "bytes 0-262143/*"})
    assert (more.status, more.headers["Range"]) == (308, "bytes=0-262143")
    done = peer.ask("PUT", session, b"y", {"Content-Range": "bytes 262144-262144/262145"})
    assert (done.status, done.json["size"], done.json["contentType"]) == (
        200,
        "262145",
        "text/plain",
    )
    assert peer.ask("PUT", session, b"", query).json == done.json, "an answer that was lost"


def test_a_session_in_one_request(peer: Any) -> None:
    assert peer.ask("PUT", peer.session("whole"), b"12345").json["size"] == "5"
    assert peer.ask("PUT", peer.session("empty"), b"").json["size"] == "0"
    done = peer.ask("PUT", peer.session("none"), b"", {"Content-Range": "bytes */0"})
    assert done.json["size"] == "0"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("bytes", b"x"),
        ("bytes 0-0", b"x"),
        ("items 0-0/1", b"x"),
        ("bytes -1-0/1", b"x"),
        ("bytes 1-0/2", b""),
        ("bytes 0-9/5", b"x" * 10),
        ("bytes 0-0/" + "9" * 5000, b"x"),
        ("bytes 0-9/10", b"short"),
        ("bytes 0-1/2", b"too long"),
        ("bytes 1-1/2", b"x"),
        ("bytes 0-4/*", b"12345"),
    ],
)
def test_chunks_that_do_not_fit(peer: Any, header: str, body: bytes) -> None:
    session = peer.session()
    answer = peer.ask("PUT", session, body, {"Content-Range": header})
    assert answer.status == 400
    assert answer.error["errors"][0]["reason"] == "invalid"
    assert peer.ask("GET", ITEM).status == 404
    status = peer.ask("PUT", session, b"", {"Content-Range": "bytes */*"})
    assert (status.status, status.headers["Range"]) == (308, None), "the session goes on"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("query", ["", "?upload_id=", "?upload_id=none"])
def test_sessions_that_are_none(peer: Any, method: str, query: str) -> None:
    answer = peer.ask(method, f"{UPLOAD}{query}", b"x")
    assert answer.status == 404
    assert "does not exist" in answer.error["message"]


def test_a_cancelled_session(peer: Any) -> None:
    session = peer.session()
    assert peer.ask("DELETE", session).status == 499
    assert peer.ask("PUT", session, b"x").status == 404
    assert peer.files() == 0


def test_a_session_that_cannot_win_is_not_opened(peer: Any) -> None:
    peer.insert("o")
    path = f"{UPLOAD}?uploadType=resumable&name=o&ifGenerationMatch=0"
    assert peer.ask("POST", path).status == 412
    assert peer.ask("POST", path.replace("/buck/", "/none/")).status == 404
