from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from google.api_core import exceptions

from saxflow.local.clock import VirtualClock
from saxflow.local.storage.listing import Query
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.resources import ObjectRecord
from saxflow.local.storage.store import ANY, Source, Store

ABSENT = Preconditions(generation_match=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, VirtualClock())
    store.create_bucket("buck", "p", {"location": "X"})
    yield store
    store.close()


def put(store: Store, name: str, data: bytes, conditions: Preconditions = ANY) -> ObjectRecord:
    payload = store.payload("buck")
    payload.fill([data])
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
    source = Source("buck", "s")
    put(store, "s", b"data")
    copied = store.copy(source, "buck", "c", {"metadata": {"k": "v"}}, ABSENT)
    assert (copied.metadata, copied.attributes, copied.metageneration) == ({"k": "v"}, {}, 1)
    store.delete("buck", "s")
    assert read(store, "c") == b"data"
    with pytest.raises(exceptions.NotFound):
        store.copy(source, "buck", "d", None, ANY)
    with pytest.raises(exceptions.PreconditionFailed):
        store.copy(Source("buck", copied.name), "buck", "c", None, ABSENT)


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
    payload.fill([b"data"])
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
    put(store, "o", b"data")
    source = Source("buck", "o")
    with pytest.raises(exceptions.InvalidArgument, match="metadata"):
        store.copy(source, "buck", "c", {"metadata": 5}, ANY)
    with pytest.raises(exceptions.PreconditionFailed):
        store.copy(source, "buck", "o", None, ABSENT)
    assert len(list((tmp_path / "buck" / "data").iterdir())) == 1


def test_copies_are_of_the_generation_and_under_the_condition_asked_for(store: Store) -> None:
    generation = put(store, "o", b"old").generation
    put(store, "o", b"new")
    with pytest.raises(exceptions.NotFound, match=f"No such object: buck/o#{generation}"):
        store.copy(Source("buck", "o", generation), "buck", "c", None, ANY)
    with pytest.raises(exceptions.PreconditionFailed):
        store.copy(Source("buck", "o", None, ABSENT), "buck", "c", None, ANY)
    store.copy(Source("buck", "o"), "buck", "c", None, ANY)
    assert read(store, "c") == b"new"


Room = Callable[[int], AbstractContextManager[None]]


def test_a_full_disk_refuses_an_object_and_keeps_the_rest(
    store: Store, tmp_path: Path, room: Room
) -> None:
    put(store, "a", b"1")
    journal = (tmp_path / "buck" / "journal.jsonl").stat().st_size
    for spare in (0, 10):
        with room(journal + spare):
            with pytest.raises(OSError, match=r"(?i)space|large"):
                put(store, "b", b"2")
            with pytest.raises(OSError, match=r"(?i)space|large"):
                store.copy(Source("buck", "a"), "buck", "b", None, ANY)
            with pytest.raises(OSError, match=r"(?i)space|large"):
                store.delete("buck", "a")
    with pytest.raises(exceptions.NotFound):
        store.get("buck", "b")
    assert read(store, "a") == b"1"
    assert files(tmp_path) == 1
    put(store, "c", b"3")
    again = Store(tmp_path, VirtualClock())
    assert [record.name for record in again.list("buck", Query())[0]] == ["a", "c"]
    again.close()


def test_a_full_disk_leaves_a_bucket_as_it_was(store: Store, room: Room) -> None:
    with room(10), pytest.raises(OSError, match=r"(?i)space|large"):
        store.patch_bucket("buck", {"location": "Y"}, ANY)
    record = store.bucket("buck").record
    assert (record.fields, record.metageneration) == ({"location": "X"}, 1)


def test_a_bucket_that_cannot_be_deleted_stays(store: Store, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / ".deleted")
    with pytest.raises(FileNotFoundError):
        store.delete_bucket("buck", ANY)
    put(store, "o", b"data")
    assert read(store, "o") == b"data"


def test_one_of_many_deletes_a_bucket(store: Store) -> None:
    barrier = threading.Barrier(8)

    def delete(_: int) -> bool:
        barrier.wait()
        try:
            store.delete_bucket("buck", ANY)
        except exceptions.NotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(delete, range(8))) == 1


def test_a_bucket_made_again_has_no_upload_under_way(store: Store, tmp_path: Path) -> None:
    payload = store.payload("buck")
    payload.fill([b"data"])
    store.delete_bucket("buck", ANY)
    store.create_bucket("buck", "p", {})
    with pytest.raises(exceptions.NotFound, match="bucket does not exist"):
        store.commit("buck", "o", payload, {}, ANY)
    with pytest.raises(exceptions.NotFound, match="No such object"):
        store.get("buck", "o")
    assert files(tmp_path) == 0


def test_a_closed_store_changes_nothing(store: Store, tmp_path: Path) -> None:
    put(store, "o", b"data")
    payload = store.payload("buck")
    store.close()
    before = (tmp_path / "buck" / "journal.jsonl").read_bytes()
    changes: list[Callable[[], object]] = [
        lambda: store.commit("buck", "o", payload, {}, ANY),
        lambda: store.copy(Source("buck", "o"), "buck", "c", None, ANY),
        lambda: store.patch("buck", "o", {}),
        lambda: store.delete("buck", "o"),
        lambda: store.patch_bucket("buck", {}, ANY),
        lambda: store.delete_bucket("buck", ANY),
    ]
    for change in changes:
        with pytest.raises(exceptions.NotFound):
            change()
    assert (tmp_path / "buck" / "journal.jsonl").read_bytes() == before
    assert read(store, "o") == b"data"


def test_received_bytes_that_break_their_promise_leave_nothing(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="CRC32C"):
        store.receive("buck", [b"data"], {"crc32c": "AAAAAA=="})
    with pytest.raises(exceptions.InvalidArgument, match="MD5"):
        store.receive("buck", [b"data"], {"md5": "AAAA"})
    assert files(tmp_path) == 0
    assert store.receive("buck", [b"da", b"ta"], {}).size == 4
