from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.api_core import exceptions

from saxflow.local.clock import VirtualClock
from saxflow.local.storage.listing import Query
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.resources import ObjectRecord
from saxflow.local.storage.store import ANY, Store

ABSENT = Preconditions(generation_match=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, VirtualClock())
    store.create_bucket("buck", "p", {"location": "X"})
    yield store
    store.close()


def put(store: Store, name: str, data: bytes, conditions: Preconditions = ANY) -> ObjectRecord:
    payload = store.payload("buck")
    payload.write(data)
    return store.commit("buck", name, payload, {"contentType": "a/b"}, conditions)


def read(store: Store, name: str) -> bytes:
    _, file = store.open("buck", name)
    with file:
        return file.read()


def files(tmp_path: Path) -> int:
    return len(list((tmp_path / "buck" / "data").iterdir()))


def test_generations_grow_even_when_time_stands_still(store: Store) -> None:
    generations = [put(store, f"o{n}", b"").generation for n in range(5)]
    assert generations == sorted(set(generations))


def test_one_of_many_creators_wins_and_losers_leave_nothing(store: Store, tmp_path: Path) -> None:
    barrier = threading.Barrier(16)

    def create(n: int) -> bool:
        barrier.wait()
        try:
            put(store, "race", bytes([n]), ABSENT)
        except exceptions.PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        winners = [n for n, won in enumerate(pool.map(create, range(16))) if won]
    assert len(winners) == 1
    assert read(store, "race") == bytes(winners)
    assert files(tmp_path) == 1


def test_an_open_file_outlives_its_generation(store: Store, tmp_path: Path) -> None:
    put(store, "o", b"old")
    _, file = store.open("buck", "o")
    put(store, "o", b"new")
    store.delete("buck", "o")
    with file:
        assert file.read() == b"old"
    assert files(tmp_path) == 0


def test_copies_share_bytes_but_not_fate(store: Store) -> None:
    source = put(store, "s", b"data")
    copied = store.copy(source, "buck", "c", {"metadata": {"k": "v"}}, ABSENT)
    assert (copied.metadata, copied.attributes, copied.metageneration) == ({"k": "v"}, {}, 1)
    store.delete("buck", "s")
    assert read(store, "c") == b"data"
    with pytest.raises(exceptions.NotFound):
        store.copy(source, "buck", "d", None, ANY)
    with pytest.raises(exceptions.PreconditionFailed):
        store.copy(copied, "buck", "c", None, ABSENT)


def test_patch_counts_metagenerations(store: Store) -> None:
    put(store, "o", b"")
    patched = store.patch("buck", "o", {"cacheControl": "x", "metadata": {"a": "1"}})
    assert (patched.metageneration, patched.attributes["contentType"]) == (2, "a/b")
    replaced = store.patch("buck", "o", {"metadata": {"b": "2"}}, whole=True)
    assert (replaced.attributes, replaced.metadata) == ({}, {"b": "2"})


def test_listeners_hear_of_every_change(store: Store) -> None:
    heard: list[tuple[str, str, dict[str, str]]] = []
    store.listen(lambda event, record, more: heard.append((event, record.name, dict(more))))
    first = put(store, "o", b"")
    second = put(store, "o", b"")
    store.delete("buck", "o")
    assert heard == [
        ("finalized", "o", {}),
        ("finalized", "o", {"overwroteGeneration": str(first.generation)}),
        ("deleted", "o", {"overwrittenByGeneration": str(second.generation)}),
        ("deleted", "o", {}),
    ]


def test_md5_on_demand_is_kept(store: Store, tmp_path: Path) -> None:
    payload = store.payload("buck")
    payload.write(b"data")
    composed = store.commit("buck", "c", payload, {}, ANY, components=2)
    assert store.with_md5(composed).md5 == ""
    record = put(store, "o", b"data")
    assert store.with_md5(record) == record


def test_buckets(store: Store, tmp_path: Path) -> None:
    store.create_bucket("other", "q", {})
    assert [each.name for each in store.buckets("p")] == ["buck"]
    patched = store.patch_bucket("buck", {"labels": {"a": "b"}, "location": None}, ANY)
    assert (patched.fields, patched.metageneration) == ({"labels": {"a": "b"}}, 2)
    put(store, "o", b"")
    with pytest.raises(exceptions.Conflict):
        store.delete_bucket("buck", ANY)
    store.delete("buck", "o")
    store.delete_bucket("buck", ANY)
    with pytest.raises(exceptions.NotFound):
        store.list("buck", Query())
    assert not (tmp_path / "buck").exists()


def test_a_payload_for_a_bucket_that_went_is_refused(store: Store) -> None:
    payload = store.payload("buck")
    store.delete_bucket("buck", ANY)
    with pytest.raises(exceptions.NotFound):
        store.commit("buck", "o", payload, {}, ANY)


def test_a_new_store_reads_what_the_old_one_wrote(store: Store, tmp_path: Path) -> None:
    put(store, "a", b"1")
    store.patch("buck", "a", {"metadata": {"k": "v"}})
    record = put(store, "b", b"2")
    store.delete("buck", "a")
    again = Store(tmp_path, VirtualClock())
    records, page = again.list("buck", Query())
    assert records == [record]
    assert page.names == ["b"]
    assert again.bucket("buck").record.fields == {"location": "X"}
    again.close()


def test_patches_of_a_bucket_reach_into_its_fields(store: Store) -> None:
    store.patch_bucket("buck", {"labels": {"a": "1", "b": "2"}, "versioning": "on"}, ANY)
    patched = store.patch_bucket("buck", {"labels": {"a": None}, "versioning": {"x": None}}, ANY)
    assert patched.fields == {"location": "X", "labels": {"b": "2"}, "versioning": {}}
    assert store.patch_bucket("buck", {"labels": {}}, ANY, whole=True).fields == {"labels": {}}


def test_a_copy_that_is_refused_leaves_nothing(store: Store, tmp_path: Path) -> None:
    source = put(store, "o", b"data")
    with pytest.raises(exceptions.InvalidArgument, match="metadata"):
        store.copy(source, "buck", "c", {"metadata": 5}, ANY)
    with pytest.raises(exceptions.PreconditionFailed):
        store.copy(source, "buck", "o", None, ABSENT)
    assert len(list((tmp_path / "buck" / "data").iterdir())) == 1
