"""Scripted faults, as Google's client and plain HTTP meet them."""

from __future__ import annotations

import io
import os

import pytest
import requests
from google.api_core import exceptions
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from .servers import CHUNK, Cloud


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
    session = cloud.start_session("r")
    data = os.urandom(3 * CHUNK)
    reply = cloud.put(session, data, f"bytes 0-{3 * CHUNK - 1}/{3 * CHUNK}")
    assert reply.status_code == 503
    assert cloud.put(session, b"", "bytes */*").headers["Range"] == f"bytes=0-{CHUNK - 1}"
    cloud.faults.arm("storage", "objects.insert", "return-503-after-256K")
    blob = bucket.blob("c", chunk_size=4 * CHUNK)
    blob.upload_from_file(io.BytesIO(data), if_generation_match=0)
    assert blob.download_as_bytes() == data
