"""google-cloud-storage against the embedded storage server."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
import requests
from google.api_core import exceptions
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer

KIB = 1024
CHUNK = 256 * KIB


class Cloud:
    """A running server and Google's client of it."""

    def __init__(self, directory: Path, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.published: list[tuple[str, bytes, dict[str, str]]] = []
        self.events: list[tuple[str, str]] = []
        self.server = StorageServer(
            directory,
            clock=RealClock(),
            faults=self.faults,
            publish=lambda *message: self.published.append(message),
        )
        self.server.listen(lambda event, record, _: self.events.append((event, record.name)))
        self.server.start()
        self.url = self.server.url
        self.client = storage.Client(
            project="p", client_options={"api_endpoint": self.url}, use_auth_w_custom_endpoint=False
        )

    def close(self) -> None:
        self.client.close()
        self.server.stop()

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            return session.request(method, self.url + path, timeout=10, **options)

    def insert(self, name: str, data: bytes, **query: str) -> requests.Response:
        parameters = {"uploadType": "media", "name": name, **query}
        return self.request("POST", "/upload/storage/v1/b/buck/o", params=parameters, data=data)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path / "storage")
    cloud.client.create_bucket("buck")
    yield cloud
    cloud.close()


@pytest.fixture
def bucket(cloud: Cloud) -> storage.Bucket:
    return cloud.client.bucket("buck")


# Buckets


def test_buckets_are_created_listed_patched_and_deleted(cloud: Cloud) -> None:
    other = cloud.client.create_bucket("other", location="us-central1")
    assert [each.name for each in cloud.client.list_buckets()] == ["buck", "other"]
    other.labels = {"team": "a"}
    other.patch()
    assert cloud.client.get_bucket("other").labels == {"team": "a"}
    assert cloud.client.get_bucket("other").metageneration == 2
    other.delete()
    assert cloud.client.lookup_bucket("other") is None


def test_a_bucket_begins_empty_after_a_deletion(cloud: Cloud) -> None:
    other = cloud.client.create_bucket("other")
    other.blob("o").upload_from_string(b"x")
    other.delete(force=True)
    cloud.client.create_bucket("other")
    assert list(cloud.client.list_blobs("other")) == []


def test_bucket_conflicts(cloud: Cloud, bucket: storage.Bucket) -> None:
    with pytest.raises(exceptions.Conflict):
        cloud.client.create_bucket("buck")
    bucket.blob("a").upload_from_string(b"")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        bucket.delete()
    with pytest.raises(exceptions.BadRequest):
        cloud.client.create_bucket("UPPER")
    with pytest.raises(exceptions.NotFound):
        cloud.client.bucket("absent").blob("x").upload_from_string(b"")


# Upload and download


@pytest.mark.parametrize("checksum", ["md5", "crc32c", "auto"])
@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 17])
def test_round_trip_resumable_in_chunks(bucket: storage.Bucket, size: int, checksum: Any) -> None:
    data = os.urandom(size)
    blob = bucket.blob("dir/é file#1?", chunk_size=CHUNK)
    blob.upload_from_file(io.BytesIO(data), checksum=checksum, content_type="x/y")
    assert bucket.blob(blob.name).download_as_bytes(checksum=checksum) == data
    blob.reload()
    assert (blob.size, blob.content_type) == (size, "x/y")
    crc = google_crc32c.value(data).to_bytes(4, "big")
    assert blob.crc32c == base64.b64encode(crc).decode()


def test_round_trip_multipart_and_unknown_size(bucket: storage.Bucket) -> None:
    bucket.blob("m").upload_from_string(b"--=\r\n\n--", content_type="text/plain")
    assert bucket.blob("m").download_as_bytes() == b"--=\r\n\n--"
    with bucket.blob("w").open("wb", chunk_size=CHUNK) as file:
        file.write(b"x" * (CHUNK + 5))
    with bucket.blob("w").open("rb") as file:
        file.seek(CHUNK)
        assert file.read() == b"x" * 5


def test_empty_objects(bucket: storage.Bucket) -> None:
    bucket.blob("e").upload_from_string(b"")
    assert bucket.blob("e").download_as_bytes() == b""


def test_metadata_is_kept_and_patched(bucket: storage.Bucket) -> None:
    blob = bucket.blob("o")
    blob.metadata = {"a": "1", "b": "ü"}
    blob.cache_control = "no-store"
    blob.upload_from_string(b"x")
    blob = bucket.get_blob("o")
    assert blob.metadata == {"a": "1", "b": "ü"}
    generation = blob.generation
    blob.metadata = {"a": None, "c": "3"}
    blob.patch(if_metageneration_match=1)
    again = bucket.get_blob("o")
    assert again.metadata == {"b": "ü", "c": "3"}
    assert (again.cache_control, again.metageneration) == ("no-store", 2)
    assert again.generation == generation
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=1)


def test_ranges(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("r").upload_from_string(b"0123456789")
    assert bucket.blob("r").download_as_bytes(start=2, end=4) == b"234"
    assert bucket.blob("r").download_as_bytes(start=7) == b"789"
    assert bucket.blob("r").download_as_bytes(start=-3) == b"789"
    path = "/storage/v1/b/buck/o/r?alt=media"
    reply = cloud.request("GET", path, headers={"Range": "bytes=8-99"})
    assert (reply.status_code, reply.headers["Content-Range"]) == (206, "bytes 8-9/10")
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        bucket.blob("r").download_as_bytes(start=10)
    reply = cloud.request("GET", path, headers={"Range": "bytes=10-"})
    assert (reply.status_code, reply.headers["Content-Range"]) == (416, "bytes */10")


def test_media_headers(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("h").upload_from_string(b"x")
    generation = bucket.get_blob("h").generation
    reply = cloud.request("GET", "/storage/v1/b/buck/o/h?alt=media")
    assert reply.headers["X-Goog-Generation"] == str(generation)
    assert reply.headers["x-goog-hash"].startswith("crc32c=")
    assert "md5=" in reply.headers["x-goog-hash"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-hash": "crc32c=AAAAAA=="},
        {"x-goog-hash": "md5=1B2M2Y8AsgTpgAmY7PhCfg=="},
        {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    ],
)
def test_wrong_checksums_are_refused(cloud: Cloud, headers: dict[str, str]) -> None:
    path = "/upload/storage/v1/b/buck/o?uploadType=media&name=bad"
    reply = cloud.request("POST", path, data=b"data", headers=headers)
    assert reply.status_code == 400
    assert "doesn't match calculated" in reply.json()["error"]["message"]
    assert cloud.client.bucket("buck").get_blob("bad") is None
    assert list(cloud.server.store.bucket("buck").path("").iterdir()) == []


def test_raw_slashes_in_object_names_are_no_route(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("a/b").upload_from_string(b"x")
    assert cloud.request("GET", "/storage/v1/b/buck/o/a/b").status_code == 404
    assert cloud.request("GET", "/storage/v1/b/buck/o/a%2Fb").status_code == 200


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\nb", ".", ".."])
def test_illegal_object_names(cloud: Cloud, name: str) -> None:
    assert cloud.insert(name, b"").status_code == 400


def test_hostile_metadata_cannot_forge_headers(cloud: Cloud, bucket: storage.Bucket) -> None:
    fields = {"contentType": "a/b\r\nX-Forged: 1", "metadata": {"n": 5, "k\r\nX-Forged": "1"}}
    session = start(cloud, "h", fields)
    assert put(cloud, session, b"x", "bytes 0-0/1").status_code == 200
    reply = cloud.request("GET", "/storage/v1/b/buck/o/h?alt=media")
    assert "X-Forged" not in reply.headers
    assert bucket.get_blob("h").metadata["n"] == "5"
    path = "/upload/storage/v1/b/buck/o?uploadType=resumable&name=bad"
    session = cloud.request("POST", path, json={"metadata": [1]}).headers["Location"]
    session = session.removeprefix(cloud.url)
    assert put(cloud, session, b"x", "bytes 0-0/1").status_code == 400


# Preconditions


def test_create_only_and_compare_and_swap(bucket: storage.Bucket) -> None:
    blob = bucket.blob("cas")
    blob.upload_from_string(b"1", if_generation_match=0)
    first = blob.generation
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("cas").upload_from_string(b"2", if_generation_match=0)
    bucket.blob("cas").upload_from_string(b"2", if_generation_match=first)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("cas").upload_from_string(b"3", if_generation_match=first)
    assert bucket.blob("cas").download_as_bytes() == b"2"


@pytest.mark.parametrize("resumable", [False, True])
def test_sixteen_creators_have_one_winner(cloud: Cloud, resumable: bool) -> None:
    barrier = threading.Barrier(16)

    def create(n: int) -> bool:
        blob = cloud.client.bucket("buck").blob("race", chunk_size=CHUNK if resumable else None)
        barrier.wait()
        try:
            data = io.BytesIO(bytes([n]) * 10)
            blob.upload_from_file(data, size=10, if_generation_match=0)
        except exceptions.PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        winners = [n for n, won in enumerate(pool.map(create, range(16))) if won]
    assert len(winners) == 1
    assert cloud.client.bucket("buck").blob("race").download_as_bytes() == bytes(winners) * 10


def test_large_bodies_are_refused_with_an_answer(cloud: Cloud) -> None:
    cloud.insert("there", b"1")
    reply = cloud.insert("there", b"x" * (8 << 20), ifGenerationMatch="0")
    assert reply.status_code == 412


def test_swaps_from_many_threads_lose_no_update(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("n").upload_from_string(b"0")

    def increment(_: int) -> None:
        while True:
            blob = cloud.client.bucket("buck").get_blob("n")
            try:
                value = int(blob.download_as_bytes())
                fresh = cloud.client.bucket("buck").blob("n")
                fresh.upload_from_string(str(value + 1), if_generation_match=blob.generation)
            except (exceptions.PreconditionFailed, exceptions.NotFound):
                continue
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(24)))
    assert bucket.blob("n").download_as_bytes() == b"24"


def test_conditions_on_reads(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("c").upload_from_string(b"x")
    generation = bucket.get_blob("c").generation
    path = "/storage/v1/b/buck/o/c"
    for query, status in [
        (f"ifGenerationMatch={generation}", 200),
        (f"ifGenerationMatch={generation + 1}", 412),
        (f"ifGenerationNotMatch={generation}", 304),
        ("ifGenerationNotMatch=0", 200),
        ("ifMetagenerationMatch=2", 412),
        ("ifMetagenerationNotMatch=1", 304),
        ("ifGenerationMatch=abc", 400),
        (f"generation={generation + 1}", 404),
    ]:
        for suffix in ("", "&alt=media"):
            reply = cloud.request("GET", f"{path}?{query}{suffix}")
            assert reply.status_code == status, query + suffix


def test_not_match_on_writes(cloud: Cloud) -> None:
    assert cloud.insert("nm", b"1", ifGenerationNotMatch="0").status_code == 412
    assert cloud.insert("nm", b"1").status_code == 200
    assert cloud.insert("nm", b"2", ifGenerationNotMatch="0").status_code == 200


def test_old_generations_are_gone(bucket: storage.Bucket) -> None:
    blob = bucket.blob("g")
    blob.upload_from_string(b"old")
    old = blob.generation
    bucket.blob("g").upload_from_string(b"new")
    with pytest.raises(exceptions.NotFound):
        bucket.blob("g", generation=old).download_as_bytes()
    with pytest.raises(exceptions.NotFound):
        bucket.blob("g", generation=old).delete()
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("g").delete(if_generation_match=old)
    bucket.blob("g").delete()
    with pytest.raises(exceptions.NotFound):
        bucket.blob("g").delete()
    assert not bucket.blob("g").exists()


def test_a_download_under_way_survives_an_overwrite(cloud: Cloud, bucket: storage.Bucket) -> None:
    data = os.urandom(8 << 20)
    bucket.blob("big").upload_from_string(data)
    connection = http.client.HTTPConnection(cloud.url.removeprefix("http://"))
    connection.request("GET", "/storage/v1/b/buck/o/big?alt=media")
    reply = connection.getresponse()
    head = reply.read(1000)
    bucket.blob("big").upload_from_string(b"other")
    assert head + reply.read() == data
    connection.close()


# Listing


@pytest.fixture
def tree(bucket: storage.Bucket) -> storage.Bucket:
    for name in ["a", "b/1", "b/2", "b/c/3", "b/c/4", "b0", "d/"]:
        bucket.blob(name).upload_from_string(name)
    return bucket


def names(listing: Any) -> list[str]:
    return [blob.name for blob in listing]


def test_list_everything_in_order_and_by_pages(tree: storage.Bucket) -> None:
    everything = ["a", "b/1", "b/2", "b/c/3", "b/c/4", "b0", "d/"]
    assert names(tree.list_blobs()) == everything
    for size in (1, 2, 3, 7):
        assert names(tree.list_blobs(page_size=size)) == everything
    assert names(tree.list_blobs(max_results=2)) == ["a", "b/1"]


@pytest.mark.parametrize("page_size", [None, 1, 2])
def test_list_with_prefix_and_delimiter(tree: storage.Bucket, page_size: int | None) -> None:
    assert names(tree.list_blobs(prefix="b/c", page_size=page_size)) == ["b/c/3", "b/c/4"]
    listing = tree.list_blobs(delimiter="/", page_size=page_size)
    assert names(listing) == ["a", "b0"]
    assert listing.prefixes == {"b/", "d/"}
    listing = tree.list_blobs(prefix="b/", delimiter="/", page_size=page_size)
    assert names(listing) == ["b/1", "b/2"]
    assert listing.prefixes == {"b/c/"}


def test_list_with_offsets(tree: storage.Bucket) -> None:
    assert names(tree.list_blobs(start_offset="b/2", end_offset="b0")) == ["b/2", "b/c/3", "b/c/4"]
    trailing = tree.list_blobs(delimiter="/", include_trailing_delimiter=True)
    assert names(trailing) == ["a", "b0", "d/"]


def test_list_is_complete_over_a_thousand(cloud: Cloud, bucket: storage.Bucket) -> None:
    with requests.Session() as session:
        for n in range(1005):
            url = f"{cloud.url}/upload/storage/v1/b/buck/o?uploadType=media&name=k{n:05}"
            session.post(url, data=b"", timeout=10)
    assert len(names(bucket.list_blobs())) == 1005
    assert len(cloud.request("GET", "/storage/v1/b/buck/o").json()["items"]) == 1000


@pytest.mark.parametrize("query", ["matchGlob=**", "softDeleted=true"])
def test_what_listing_cannot_do_is_refused(cloud: Cloud, query: str) -> None:
    assert cloud.request("GET", f"/storage/v1/b/buck/o?{query}").status_code == 501


def test_bad_page_tokens(cloud: Cloud) -> None:
    assert cloud.request("GET", "/storage/v1/b/buck/o?pageToken=%21%21").status_code == 400


# Copy, rewrite, compose


def test_copy_and_rewrite(cloud: Cloud, bucket: storage.Bucket) -> None:
    cloud.client.create_bucket("other")
    source = bucket.blob("s")
    source.metadata = {"k": "v"}
    source.upload_from_string(b"data", content_type="x/y")
    copied = bucket.copy_blob(source, cloud.client.bucket("other"), "c", if_generation_match=0)
    assert copied.metadata == {"k": "v"}
    assert copied.content_type == "x/y"
    target = bucket.blob("t")
    assert target.rewrite(source) == (None, 4, 4)
    source.delete()
    assert target.download_as_bytes() == b"data"
    assert cloud.client.bucket("other").blob("c").download_as_bytes() == b"data"
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("u").rewrite(target, if_generation_match=5)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("u").rewrite(target, if_source_generation_match=5)
    with pytest.raises(exceptions.NotFound):
        bucket.blob("u").rewrite(source)


def test_compose(bucket: storage.Bucket) -> None:
    parts = [bucket.blob(f"p{n}") for n in range(3)]
    for n, part in enumerate(parts):
        part.upload_from_string(str(n) * 4, content_type="x/y")
    whole = bucket.blob("whole")
    whole.compose(parts, if_generation_match=0)
    assert whole.download_as_bytes() == b"000011112222"
    assert (whole.component_count, whole.md5_hash) == (3, None)
    assert whole.content_type == "x/y"
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts, if_generation_match=0)
    with pytest.raises(exceptions.NotFound):
        whole.compose([bucket.blob("absent")])


# Resumable sessions, by hand


def start(cloud: Cloud, name: str, fields: dict[str, str] | None = None, query: str = "") -> str:
    path = f"/upload/storage/v1/b/buck/o?uploadType=resumable&name={name}{query}"
    reply = cloud.request("POST", path, json=fields or {})
    assert reply.status_code == 200
    return reply.headers["Location"].removeprefix(cloud.url)


def put(cloud: Cloud, session: str, data: bytes, content_range: str) -> requests.Response:
    return cloud.request("PUT", session, data=data, headers={"Content-Range": content_range})


def test_status_queries_and_overlaps(cloud: Cloud, bucket: storage.Bucket) -> None:
    session = start(cloud, "r")
    assert "Range" not in put(cloud, session, b"", "bytes */*").headers
    reply = put(cloud, session, b"a" * CHUNK, f"bytes 0-{CHUNK - 1}/*")
    assert (reply.status_code, reply.headers["Range"]) == (308, f"bytes=0-{CHUNK - 1}")
    assert put(cloud, session, b"", "bytes */*").headers["Range"] == f"bytes=0-{CHUNK - 1}"
    again = put(cloud, session, b"a" * CHUNK + b"bc", f"bytes 0-{CHUNK + 1}/{CHUNK + 2}")
    assert again.json()["size"] == str(CHUNK + 2)
    assert bucket.blob("r").download_as_bytes() == b"a" * CHUNK + b"bc"
    assert put(cloud, session, b"", "bytes */*").json()["generation"] == again.json()["generation"]


def test_gaps_and_odd_chunks_are_refused(cloud: Cloud) -> None:
    session = start(cloud, "r")
    assert put(cloud, session, b"x", "bytes 5-5/6").status_code == 400
    assert put(cloud, session, b"xyz", "bytes 0-2/*").status_code == 400
    assert put(cloud, session, b"xyz", "bytes nonsense").status_code == 400
    assert put(cloud, session, b"xyz", "bytes 0-2/3").status_code == 200


def test_unknown_total_is_told_at_the_end(cloud: Cloud, bucket: storage.Bucket) -> None:
    session = start(cloud, "r")
    put(cloud, session, b"a" * CHUNK, f"bytes 0-{CHUNK - 1}/*")
    assert put(cloud, session, b"", f"bytes */{CHUNK}").status_code == 200
    assert bucket.get_blob("r").size == CHUNK


def test_cancelled_sessions_are_gone(cloud: Cloud) -> None:
    session = start(cloud, "r")
    assert cloud.request("DELETE", session).status_code == 499
    assert put(cloud, session, b"x", "bytes 0-0/1").status_code == 404
    assert list(cloud.server.store.bucket("buck").path("").iterdir()) == []


def test_checksums_of_sessions(cloud: Cloud) -> None:
    wrong = start(cloud, "r", {"crc32c": "AAAAAA=="})
    assert put(cloud, wrong, b"x", "bytes 0-0/1").status_code == 400
    assert put(cloud, wrong, b"x", "bytes 0-0/1").status_code == 404
    late = start(cloud, "s")
    headers = {"Content-Range": "bytes 0-0/1", "X-Goog-Hash": "md5=1B2M2Y8AsgTpgAmY7PhCfg=="}
    assert cloud.request("PUT", late, data=b"x", headers=headers).status_code == 400


def test_conditions_of_sessions_hold_at_the_end(cloud: Cloud) -> None:
    session = start(cloud, "r", query="&ifGenerationMatch=0")
    cloud.insert("r", b"first")
    assert put(cloud, session, b"x", "bytes 0-0/1").status_code == 412
    path = "/upload/storage/v1/b/buck/o?uploadType=resumable&name=r&ifGenerationMatch=0"
    assert cloud.request("POST", path, json={}).status_code == 412


def test_a_chunk_that_breaks_off_keeps_what_arrived(cloud: Cloud) -> None:
    session = start(cloud, "r")
    connection = http.client.HTTPConnection(cloud.url.removeprefix("http://"))
    connection.putrequest("PUT", session)
    connection.putheader("Content-Length", str(4 * CHUNK))
    connection.putheader("Content-Range", f"bytes 0-{4 * CHUNK - 1}/{4 * CHUNK}")
    connection.endheaders()
    connection.send(b"x" * CHUNK)
    connection.close()
    deadline = time.monotonic() + 10
    while put(cloud, session, b"", "bytes */*").headers.get("Range") != f"bytes=0-{CHUNK - 1}":
        assert time.monotonic() < deadline
    rest = put(cloud, session, b"x" * 3 * CHUNK, f"bytes {CHUNK}-{4 * CHUNK - 1}/{4 * CHUNK}")
    assert rest.json()["size"] == str(4 * CHUNK)


# Errors


def test_errors_have_googles_shape(cloud: Cloud) -> None:
    reply = cloud.request("GET", "/storage/v1/b/buck/o/absent")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (404, 404)
    assert error["message"] == "No such object: buck/absent"
    assert error["errors"][0]["reason"] == "notFound"
    assert cloud.insert("x", b"", ifGenerationMatch="5").json()["error"]["errors"][0][
        "reason"
    ] == "conditionNotMet"  # fmt: skip
    assert cloud.request("POST", "/storage/v1/b", data=b"{").status_code == 400
    assert cloud.request("GET", "/storage/v1/nothing").status_code == 404


# Events and notifications


def test_events(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("e").upload_from_string(b"1")
    bucket.blob("e").upload_from_string(b"2")
    blob = bucket.get_blob("e")
    blob.metadata = {"a": "b"}
    blob.patch()
    blob.delete()
    kinds = ["finalized", "finalized", "deleted", "metadataUpdated", "deleted"]
    assert cloud.events == [(kind, "e") for kind in kinds]


def test_notifications(cloud: Cloud, bucket: storage.Bucket) -> None:
    notification = bucket.notification(
        "topic", topic_project="project", blob_name_prefix="in/", event_types=["OBJECT_FINALIZE"],
        custom_attributes={"x": "y"}, payload_format="JSON_API_V1",
    )  # fmt: skip
    notification.create()
    assert [each.topic_name for each in bucket.list_notifications()] == ["topic"]
    bucket.blob("out/1").upload_from_string(b"1")
    bucket.blob("in/1").upload_from_string(b"1")
    bucket.blob("in/1").delete()
    ((topic, data, attributes),) = cloud.published
    assert topic == "projects/project/topics/topic"
    assert json.loads(data)["name"] == "in/1"
    assert (attributes["eventType"], attributes["x"]) == ("OBJECT_FINALIZE", "y")
    notification.delete()
    assert list(bucket.list_notifications()) == []


# Persistence


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    bucket = first.client.create_bucket("buck")
    for n in range(5):
        bucket.blob(f"o{n}").upload_from_string(str(n))
    bucket.blob("o1").delete()
    bucket.blob("o2").upload_from_string("new")
    before = {blob.name: (blob.generation, blob.crc32c) for blob in bucket.list_blobs()}
    first.close()
    with open(tmp_path / "buck" / "journal.jsonl", "ab") as journal:
        journal.write(b'{"put": {"torn')
    (tmp_path / "buck" / "data" / "orphan").write_bytes(b"left by a crash")
    second = Cloud(tmp_path)
    bucket = second.client.bucket("buck")
    assert {blob.name: (blob.generation, blob.crc32c) for blob in bucket.list_blobs()} == before
    assert bucket.blob("o2").download_as_bytes() == b"new"
    bucket.blob("o9").upload_from_string(b"more")
    assert bucket.get_blob("o9").generation > max(generation for generation, _ in before.values())
    assert not (tmp_path / "buck" / "data" / "orphan").exists()
    second.close()


SERVE = """
import sys
from pathlib import Path
from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer
server = StorageServer(
    Path(sys.argv[1]), clock=RealClock(), faults=Faults(), publish=lambda *message: None
)
server.start()
print(server.url, flush=True)
sys.stdin.read()
"""


def test_a_killed_server_loses_nothing_acknowledged(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        url = process.stdout.readline().decode().strip()
        acknowledged: list[str] = []

        def write() -> None:
            with requests.Session() as session:
                session.post(f"{url}/storage/v1/b", json={"name": "buck"}, timeout=10)
                for n in range(100_000):
                    query = f"uploadType=media&name=o{n}"
                    try:
                        session.post(
                            f"{url}/upload/storage/v1/b/buck/o?{query}", data=str(n), timeout=10
                        )
                    except requests.ConnectionError:
                        return
                    acknowledged.append(f"o{n}")

        writer = threading.Thread(target=write)
        writer.start()
        deadline = time.monotonic() + 30
        while len(acknowledged) < 100 and time.monotonic() < deadline:
            writer.join(0.01)
        process.kill()
        writer.join()
    cloud = Cloud(tmp_path)
    bucket = cloud.client.bucket("buck")
    found = set(names(bucket.list_blobs()))
    assert set(acknowledged) <= found <= {*acknowledged, f"o{len(acknowledged)}"}
    last = acknowledged[-1]
    assert bucket.blob(last).download_as_bytes() == last[1:].encode()
    cloud.close()


# Faults


def test_faults_before_the_call(cloud: Cloud, bucket: storage.Bucket) -> None:
    cloud.faults.arm("storage", "objects.insert", "return-429", contains="buck/f")
    with pytest.raises(exceptions.TooManyRequests):
        bucket.blob("f").upload_from_string(b"x", retry=None)
    assert bucket.get_blob("f") is None
    cloud.faults.arm("storage", "objects.get", "return-reset-connection")
    with pytest.raises(requests.ConnectionError):
        cloud.request("GET", "/storage/v1/b/buck/o/f")


def test_clients_retry_what_may_be_retried(cloud: Cloud, bucket: storage.Bucket) -> None:
    cloud.faults.arm("storage", "objects.insert", "return-503")
    bucket.blob("f").upload_from_string(b"x", if_generation_match=0)
    cloud.faults.arm("storage", "objects.get", "return-broken-stream")
    assert bucket.blob("f").download_as_bytes() == b"x"
    assert all(rule["matched"] >= 2 for rule in cloud.faults.armed())


def test_a_lost_answer_means_the_write_happened(cloud: Cloud, bucket: storage.Bucket) -> None:
    cloud.faults.arm("storage", "objects.insert", "execute-and-timeout")
    with pytest.raises((requests.ConnectionError, exceptions.RetryError)):
        bucket.blob("f").upload_from_string(b"x", if_generation_match=0, retry=None)
    assert bucket.blob("f").download_as_bytes() == b"x"


def test_corrupted_media_is_noticed(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("f").upload_from_string(b"x" * 100_000)
    cloud.faults.arm("storage", "objects.get", "return-corrupted-data")
    with pytest.raises(DataCorruption):
        bucket.blob("f").download_as_bytes(retry=None)
    cloud.faults.arm("storage", "objects.insert", "return-corrupted-data")
    with pytest.raises(exceptions.BadRequest, match="CRC32C"):
        bucket.blob("f").upload_from_string(b"y" * 10, checksum="crc32c", retry=None)


def test_stalls_end_with_the_connection(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("f").upload_from_string(b"x" * 300_000)
    for action in ("stall-always", "stall-at-256KiB"):
        cloud.faults.arm("storage", "objects.get", action, stall_seconds=0.05)
        with pytest.raises(requests.RequestException):
            cloud.request("GET", "/storage/v1/b/buck/o/f?alt=media")


def test_an_upload_that_fails_midway_is_resumed(cloud: Cloud, bucket: storage.Bucket) -> None:
    cloud.faults.arm("storage", "objects.insert", "return-503-after-256K")
    session = start(cloud, "r")
    data = os.urandom(3 * CHUNK)
    reply = put(cloud, session, data, f"bytes 0-{3 * CHUNK - 1}/{3 * CHUNK}")
    assert reply.status_code == 503
    assert put(cloud, session, b"", "bytes */*").headers["Range"] == f"bytes=0-{CHUNK - 1}"
    cloud.faults.arm("storage", "objects.insert", "return-503-after-256K")
    blob = bucket.blob("c", chunk_size=4 * CHUNK)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
    assert blob.download_as_bytes() == data


def test_memory_stays_bounded(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        url = process.stdout.readline().decode().strip()
        piece = b"x" * (1 << 20)
        with requests.Session() as session:
            session.post(f"{url}/storage/v1/b", json={"name": "buck"}, timeout=10)
            target = f"{url}/upload/storage/v1/b/buck/o?uploadType=media&name=big"
            reply = session.post(target, data=(piece for _ in range(256)), timeout=60)
            assert reply.json()["size"] == str(256 << 20)
        peak = Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
        assert process.stdin
        process.stdin.close()
    assert int(peak) < 80 * KIB
