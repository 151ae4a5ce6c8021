"""Resumable upload sessions, spoken by hand: status, gaps, cancellation, broken connections."""

from __future__ import annotations

import http.client
from collections.abc import Callable

from google.cloud import storage

from .servers import CHUNK, Cloud


def test_status_queries_and_overlaps(cloud: Cloud, bucket: storage.Bucket) -> None:
    session = cloud.start_session("r")
    assert "Range" not in cloud.put(session, b"", "bytes */*").headers
    reply = cloud.put(session, b"a" * CHUNK, f"bytes 0-{CHUNK - 1}/*")
    assert (reply.status_code, reply.headers["Range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert cloud.put(session, b"", "bytes */*").headers["Range"] == f"bytes=0-{CHUNK - 1}"
    again = cloud.put(session, b"a" * CHUNK + b"bc", f"bytes 0-{CHUNK + 1}/{CHUNK + 2}")
    assert again.json()["size"] == str(CHUNK + 2)
    assert bucket.blob("r").download_as_bytes() == b"a" * CHUNK + b"bc"
    assert cloud.put(session, b"", "bytes */*").json()["generation"] == again.json()["generation"]


def test_gaps_and_odd_chunks_are_refused(cloud: Cloud) -> None:
    session = cloud.start_session("r")
    assert cloud.put(session, b"x", "bytes 5-5/6").status_code == 400
    assert cloud.put(session, b"xyz", "bytes 0-2/*").status_code == 400
    assert cloud.put(session, b"xyz", "bytes nonsense").status_code == 400
    assert cloud.put(session, b"xyz", "bytes 0-2/3").status_code == 200


def test_unknown_total_is_told_at_the_end(cloud: Cloud, bucket: storage.Bucket) -> None:
    session = cloud.start_session("r")
    cloud.put(session, b"a" * CHUNK, f"bytes 0-{CHUNK - 1}/*")
    assert cloud.put(session, b"", f"bytes */{CHUNK}").status_code == 200
    assert bucket.get_blob("r").size == CHUNK


def test_cancelled_sessions_are_gone(cloud: Cloud) -> None:
    session = cloud.start_session("r")
    assert cloud.request("DELETE", session).status_code == 499
    assert cloud.put(session, b"x", "bytes 0-0/1").status_code == 404
    assert list(cloud.server.store.bucket("buck").path("").iterdir()) == []


def test_checksums_of_sessions(cloud: Cloud) -> None:
    wrong = cloud.start_session("r", {"crc32c": "AAAAAA=="})
    assert cloud.put(wrong, b"x", "bytes 0-0/1").status_code == 400
    assert cloud.put(wrong, b"x", "bytes 0-0/1").status_code == 404
    late = cloud.start_session("s")
    headers = {"Content-Range": "bytes 0-0/1", "X-Goog-Hash": "md5=1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert cloud.request("PUT", late, data=b"x", headers=headers).status_code == 400


def test_conditions_of_sessions_hold_at_the_end(cloud: Cloud) -> None:
    session = cloud.start_session("r", query="&ifGenerationMatch=0")
    cloud.insert("r", b"first")
    assert cloud.put(session, b"x", "bytes 0-0/1").status_code == 412
    path = "/upload/storage/v1/b/buck/o?uploadType=resumable&name=r&ifGenerationMatch=0"
    assert cloud.request("POST", path, json={}).status_code == 412


def test_a_chunk_that_breaks_off_keeps_what_arrived(
    cloud: Cloud, eventually: Callable[..., None]
) -> None:
    session = cloud.start_session("r")
    connection = http.client.HTTPConnection(cloud.url.removeprefix("http://"))
    connection.putrequest("PUT", session)
    connection.putheader("Content-Length", str(4 * CHUNK))
    connection.putheader("Content-Range", f"bytes 0-{4 * CHUNK - 1}/{4 * CHUNK}")
    connection.endheaders()
    connection.send(b"x" * CHUNK)
    connection.close()
    kept = f"bytes=0-{CHUNK - 1}"
    eventually(lambda: cloud.put(session, b"", "bytes */*").headers.get("Range") == kept)
    rest = cloud.put(session, b"x" * 3 * CHUNK, f"bytes {CHUNK}-{4 * CHUNK - 1}/{4 * CHUNK}")
    assert rest.json()["size"] == str(4 * CHUNK)
