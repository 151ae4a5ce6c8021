from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from google.api_core import exceptions

from saxflow.local.clock import VirtualClock
from saxflow.local.storage import uploads as module
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.ranges import ContentRange
from saxflow.local.storage.store import ANY, Store
from saxflow.local.storage.uploads import CHUNK_MULTIPLE_BYTES, Multiparts, Resumables, Session


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, VirtualClock())
    store.create_bucket("buck", "p", {})
    yield store
    store.close()


def start(resumables: Resumables, **promised: str) -> Session:
    return resumables.get(resumables.start("buck", "o", {}, ANY, promised))


def test_chunks_overlaps_and_the_end(store: Store) -> None:
    resumables = Resumables(store)
    session = start(resumables)
    assert resumables.name_of(session.identity) == "o"
    assert resumables.name_of("other") == resumables.name_of(None) == ""
    chunk = b"a" * CHUNK_MULTIPLE_BYTES
    span = ContentRange(0, len(chunk) - 1, None)
    assert resumables.append(session, span, [chunk], {}) is None
    total = len(chunk) + 2
    span = ContentRange(0, total - 1, total)
    record = resumables.append(session, span, [chunk[:10], chunk[10:], b"bc"], {})
    assert record
    assert record.size == total
    assert resumables.append(session, ContentRange(None, None, None), [], {}) == record


@pytest.mark.parametrize("span", [ContentRange(1, 1, 2), ContentRange(0, 4, None)])
def test_gaps_and_odd_chunks(store: Store, span: ContentRange) -> None:
    resumables = Resumables(store)
    session = start(resumables)
    with pytest.raises(exceptions.InvalidArgument):
        resumables.append(session, span, [b"xxxxx"], {})
    resumables.close()


def test_a_failed_end_ends_the_session(store: Store, tmp_path: Path) -> None:
    resumables = Resumables(store)
    session = start(resumables, crc32c="AAAAAA==")
    with pytest.raises(exceptions.InvalidArgument, match="CRC32C"):
        resumables.append(session, ContentRange(0, 0, 1), [b"x"], {})
    with pytest.raises(exceptions.NotFound):
        resumables.get(session.identity)
    assert list((tmp_path / "buck" / "data").iterdir()) == []


def test_cancel_and_close_leave_nothing(store: Store, tmp_path: Path) -> None:
    resumables = Resumables(store)
    resumables.cancel(start(resumables).identity)
    start(resumables)
    resumables.close()
    assert list((tmp_path / "buck" / "data").iterdir()) == []


def test_parts_are_joined_in_order_and_may_be_replaced(store: Store, tmp_path: Path) -> None:
    multiparts = Multiparts(store)
    identity = multiparts.start("buck", "o", {"contentType": "x/y"})
    multiparts.put_part(identity, 2, [b"second"], {})
    multiparts.put_part(identity, 1, [b"wrong"], {})
    multiparts.put_part(identity, 1, [b"first "], {})
    record = multiparts.complete(identity, [2, 1], Preconditions(0))
    with store.open("buck", "o")[1] as file:
        assert file.read() == b"first second"
    assert (record.components, record.md5, record.content_type) == (2, "", "x/y")
    assert len(list((tmp_path / "buck" / "data").iterdir())) == 1
    with pytest.raises(exceptions.NotFound):
        multiparts.abort(identity)


def test_missing_and_corrupted_parts(store: Store) -> None:
    multiparts = Multiparts(store)
    identity = multiparts.start("buck", "o", {})
    with pytest.raises(exceptions.InvalidArgument, match="CRC32C"):
        multiparts.put_part(identity, 1, [b"x"], {"crc32c": "AAAAAA=="})
    with pytest.raises(exceptions.InvalidArgument, match="part 1"):
        multiparts.complete(identity, [1], ANY)


def test_sessions_that_wait_keep_no_file_open(store: Store, tmp_path: Path) -> None:
    resumables = Resumables(store)
    sessions = [start(resumables) for _ in range(5)]
    chunk = b"x" * CHUNK_MULTIPLE_BYTES
    resumables.append(sessions[0], ContentRange(0, len(chunk) - 1, None), [chunk], {})
    opened = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    data = tmp_path.resolve() / "buck" / "data"
    assert [path for path in opened if path.startswith(str(data))] == []


def test_only_so_many_complete_sessions_are_remembered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPLETE_LIMIT", 3)
    resumables = Resumables(store)
    waiting, complete = start(resumables), [start(resumables) for _ in range(5)]
    for session in complete:
        resumables.append(session, ContentRange(0, 0, 1), [b"x"], {})
    for session in complete[:2]:
        with pytest.raises(exceptions.NotFound):
            resumables.get(session.identity)
    assert [resumables.get(each.identity) for each in [waiting, *complete[2:]]]


def test_a_session_that_was_cancelled_meanwhile(store: Store) -> None:
    resumables = Resumables(store)
    session = start(resumables)
    resumables.cancel(session.identity)
    with pytest.raises(exceptions.NotFound):
        resumables.append(session, ContentRange(0, 0, 1), [b"x"], {})


@pytest.mark.parametrize("span", [ContentRange(None, None, 1), ContentRange(0, 0, 1)])
def test_a_total_below_what_was_received(store: Store, span: ContentRange) -> None:
    resumables = Resumables(store)
    session = start(resumables)
    chunk = b"x" * CHUNK_MULTIPLE_BYTES
    resumables.append(session, ContentRange(0, len(chunk) - 1, None), [chunk], {})
    with pytest.raises(exceptions.InvalidArgument, match="total of 1 byte"):
        resumables.append(session, span, [b"x"], {})
    with pytest.raises(exceptions.NotFound):
        store.get("buck", "o")


def test_a_part_that_is_named_twice(store: Store) -> None:
    multiparts = Multiparts(store)
    identity = multiparts.start("buck", "o", {})
    multiparts.put_part(identity, 1, [b"x"], {})
    with pytest.raises(exceptions.InvalidArgument, match="part 1 is named twice"):
        multiparts.complete(identity, [1, 1], ANY)


def test_uploads_into_a_bucket_made_again(store: Store) -> None:
    resumables, multiparts = Resumables(store), Multiparts(store)
    session, identity = start(resumables), multiparts.start("buck", "o", {})
    multiparts.put_part(identity, 1, [b"x"], {})
    store.delete_bucket("buck", ANY)
    store.create_bucket("buck", "p", {})
    with pytest.raises(exceptions.NotFound):
        resumables.append(session, ContentRange(0, 0, 1), [b"x"], {})
    with pytest.raises(exceptions.NotFound):
        multiparts.complete(identity, [1], ANY)


def at_once(call: Callable[[int], object], error: type[Exception]) -> list[object]:
    """Call from eight threads at the same time; return what those got that met no such error."""
    barrier = threading.Barrier(8)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return call(number)
        except error:
            return None

    with ThreadPoolExecutor(8) as pool:
        return [each for each in pool.map(one, range(8)) if each is not None]


def test_one_of_many_completes_an_upload(store: Store, tmp_path: Path) -> None:
    multiparts = Multiparts(store)
    for _ in range(20):
        identity = multiparts.start("buck", "o", {})
        multiparts.put_part(identity, 1, [b"x"], {})
        done = at_once(
            lambda _, of=identity: multiparts.complete(of, [1], ANY), exceptions.NotFound
        )
        assert len(done) == 1
    assert len(list((tmp_path / "buck" / "data").iterdir())) == 1


def test_of_parts_with_one_number_one_stays(store: Store, tmp_path: Path) -> None:
    multiparts = Multiparts(store)
    identity = multiparts.start("buck", "o", {})
    for _ in range(20):
        at_once(
            lambda n: multiparts.put_part(identity, 1, [b"x" * n], {}),
            exceptions.GoogleAPICallError,
        )
        assert len(list((tmp_path / "buck" / "data").iterdir())) == 1
    multiparts.abort(identity)
    assert list((tmp_path / "buck" / "data").iterdir()) == []


def test_one_chunk_that_is_sent_by_many_makes_one_object(store: Store) -> None:
    resumables = Resumables(store)
    session = start(resumables)
    span = ContentRange(0, 9, 10)
    records = at_once(
        lambda _: resumables.append(session, span, [b"0123456789"], {}),
        exceptions.GoogleAPICallError,
    )
    assert records == [store.get("buck", "o")] * 8
