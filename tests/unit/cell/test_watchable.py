"""Following a set of addresses by sequence number."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from saxflow.cell.watchable import Watchable
from saxflow.sax import messages as m


def apply(known: set[str], result: m.WatchResult) -> set[str]:
    found = set(result.values) if result.has_fullset else set(known)
    for change in result.changelog:
        if change.WhichOneof("kind") == "addition":
            found.add(change.addition)
        else:
            found.discard(change.deletion)
    return found


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))), st.integers(0, 5))
def test_a_watcher_that_looks_now_and_then_knows_the_set(
    changes: list[tuple[bool, str]], stride: int
) -> None:
    async def run() -> None:
        watchable, truth, known, seqno = Watchable(), set[str](), set[str](), 0
        for index, (added, address) in enumerate(changes):
            (watchable.add if added else watchable.discard)(address)
            (truth.add if added else truth.discard)(address)
            if stride and index % stride == 0:
                result = await watchable.watch(seqno)
                known, seqno = apply(known, result), result.next_seqno
        if changes and seqno < len(changes):
            known = apply(known, await watchable.watch(seqno))
        assert not changes or known == truth

    asyncio.run(run())


def test_the_first_change_comes_as_a_log() -> None:
    watchable = Watchable()
    watchable.add("1.2.3.4:5")
    result = asyncio.run(watchable.watch(0))
    assert (result.next_seqno, result.has_fullset) == (1, False)
    assert [change.addition for change in result.changelog] == ["1.2.3.4:5"]


def test_a_number_ahead_of_the_set_is_told_the_right_one() -> None:
    watchable = Watchable()
    watchable.add("a")
    result = asyncio.run(watchable.watch(9))
    assert (result.next_seqno, list(result.changelog)) == (1, [])


def test_a_watcher_waits_for_the_next_change_and_for_the_end() -> None:
    async def run() -> tuple[m.WatchResult, m.WatchResult]:
        watchable = Watchable()
        first = asyncio.create_task(watchable.watch(0))
        await asyncio.sleep(0)
        assert not first.done()
        watchable.add("a")
        second = asyncio.create_task(watchable.watch((await first).next_seqno))
        await asyncio.sleep(0)
        watchable.close()
        return await first, await second

    changed, closed = asyncio.run(run())
    assert changed.next_seqno == 1
    assert closed.has_fullset
    assert closed.next_seqno == 0
