"""Objects go up and come down whole: uploads, downloads, ranges, metadata."""

from __future__ import annotations

import base64
import io
import os
from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions
from google.cloud import storage

from .servers import CHUNK, Cloud


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
