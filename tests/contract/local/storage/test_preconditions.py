"""Generations and preconditions: one winner, no lost update, old generations gone."""

from __future__ import annotations

import http.client
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.api_core import exceptions
from google.cloud import storage

from .servers import CHUNK, Cloud


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


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("GET", "/buck/s", b"", {}),
        ("GET", "/storage/v1/b/buck/o/s?alt=media", b"", {}),
        ("GET", "/storage/v1/b/buck/o/s", b"", {}),
        ("PUT", "/buck/c", b"", {"x-goog-copy-source": "buck/s"}),
        ("POST", "/storage/v1/b/buck/o/s/rewriteTo/b/buck/o/c", b"", {}),
        ("POST", "/storage/v1/b/buck/o/c/compose", b'{"sourceObjects": [{"name": "s"}]}', {}),
    ],
    ids=["xml", "media", "metadata", "xml-copy", "rewrite", "compose"],
)
def test_an_object_that_is_overwritten_is_always_there(
    cloud: Cloud, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    cloud.insert("s", b"x")
    over = threading.Event()

    def overwrite() -> None:
        with requests.Session() as session:
            while not over.is_set():
                session.put(f"{cloud.url}/buck/s", data=b"x", timeout=60).raise_for_status()

    with ThreadPoolExecutor(2) as pool, requests.Session() as session:
        writers = [pool.submit(overwrite) for _ in range(2)]
        try:
            seen = {
                session.request(
                    method, cloud.url + path, data=body, headers=headers, timeout=60
                ).status_code
                for _ in range(200)
            }
        finally:
            over.set()
        for writer in writers:
            writer.result()
    assert seen == {200}


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
