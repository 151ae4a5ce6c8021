from __future__ import annotations

from google.pubsub_v1 import types
from hypothesis import given, settings
from hypothesis import strategies as st

from saxflow.local.clock import VirtualClock
from saxflow.local.pubsub.backlog import Backlog, Entry


def message(number: int, key: str) -> types.PubsubMessage:
    return types.PubsubMessage(data=str(number).encode(), ordering_key=key)


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.message.data) for entry in entries]


@settings(deadline=None)
@given(
    keys=st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=12),
    moves=st.lists(
        st.tuples(st.sampled_from(["take", "ack", "nack", "expire"]), st.integers(0, 5)),
        max_size=40,
    ),
)
def test_nothing_is_lost_and_keys_keep_their_order(
    keys: list[str], moves: list[tuple[str, int]]
) -> None:
    clock = VirtualClock()
    backlog = Backlog("s", clock, ordered=True)
    for number, key in enumerate(keys):
        backlog.add(message(number, key))
    acknowledged: set[int] = set()
    held: list[Entry] = []
    consumers = [object(), object()]

    def check_order(entries: list[Entry]) -> None:
        for entry in entries:
            earlier = {n for n, key in enumerate(keys) if key and key == entry.key and n < int(entry.message.data)}  # fmt: skip
            leased = {int(each.message.data) for each in [*held, *entries]}
            assert earlier <= acknowledged | leased

    for move, which in moves:
        if move == "take":
            taken = backlog.take(consumers[which % 2], which + 1, 10.0)
            check_order(taken)
            held += taken
        elif move == "expire":
            clock.advance(11)
            held.clear()
        elif held:
            entry = held.pop(which % len(held))
            if move == "ack":
                backlog.acknowledge([entry.ack_id])
                acknowledged.add(int(entry.message.data))
            else:
                backlog.modify(entry.ack_id, 0)
                held = [each for each in held if not each.key or each.key != entry.key or each.sequence < entry.sequence]  # fmt: skip
    clock.advance(11)
    while rest := backlog.take(consumers[0], 100, 10.0):
        assert not acknowledged & set(numbers(rest))
        acknowledged |= set(numbers(rest))
        backlog.acknowledge([entry.ack_id for entry in rest])
    assert acknowledged == set(range(len(keys)))
    assert len(backlog) == 0


def test_a_key_stays_with_its_consumer() -> None:
    backlog = Backlog("s", VirtualClock(), ordered=True)
    for number in range(3):
        backlog.add(message(number, "k"))
    one, two = object(), object()
    first = backlog.take(one, 1, 10.0)
    assert backlog.take(two, 10, 10.0) == []
    assert backlog.held(one) == (1, 1)
    backlog.acknowledge([first[0].ack_id])
    assert numbers(backlog.take(two, 10, 10.0)) == [1, 2]


def test_keys_mean_nothing_without_ordering() -> None:
    backlog = Backlog("s", VirtualClock(), ordered=False)
    for number in range(2):
        backlog.add(message(number, "k"))
    assert numbers(backlog.take(object(), 1, 10.0)) == [0]
    assert numbers(backlog.take(object(), 1, 10.0)) == [1]


def test_bytes_are_limited_but_one_always_passes() -> None:
    backlog = Backlog("s", VirtualClock(), ordered=False)
    for _ in range(3):
        backlog.add(types.PubsubMessage(data=b"x" * 100))
    assert len(backlog.take(object(), 10, 10.0, limit_bytes=50)) == 1
    assert len(backlog.take(object(), 10, 10.0, limit_bytes=500)) == 2


def test_purge_and_versions() -> None:
    clock = VirtualClock()
    backlog = Backlog("s", clock, ordered=False)
    before = backlog.version
    stamped = message(1, "")
    stamped.publish_time = clock.now()
    backlog.add(stamped)
    assert backlog.version > before
    backlog.wait(before)
    backlog.take(object(), 1, 10.0)
    backlog.purge(clock.time() + 1)
    assert len(backlog) == 0


def test_a_message_that_waits_holds_up_no_other() -> None:
    clock = VirtualClock()
    backlog = Backlog("s", clock, ordered=False)
    backlog.backoff = lambda attempt: 60.0 * attempt
    for number in range(3):
        backlog.add(message(number, ""))
    held = backlog.take(object(), 2, 10.0)
    for entry in held:
        backlog.modify(entry.ack_id, 0)
    assert numbers(backlog.take(object(), 10, 100.0)) == [2]
    assert len(backlog) == 3
    clock.advance(59)
    assert backlog.take(object(), 10, 100.0) == []
    clock.advance(1)
    assert numbers(backlog.take(object(), 10, 100.0)) == [0, 1]


def test_what_a_consumer_holds_is_counted_in_messages_and_bytes() -> None:
    backlog = Backlog("s", VirtualClock(), ordered=False)
    for _ in range(2):
        backlog.add(types.PubsubMessage(data=b"x" * 100))
    consumer = object()
    (first, _) = backlog.take(consumer, 2, 10.0)
    assert (backlog.held(consumer), backlog.held(object())) == ((2, 200), (0, 0))
    backlog.acknowledge([first.ack_id])
    assert backlog.held(consumer) == (1, 100)


def test_purging_spares_what_is_newer_wherever_it_is() -> None:
    clock = VirtualClock()
    backlog = Backlog("s", clock, ordered=True)
    backlog.backoff = lambda attempt: 60.0
    for number, key in enumerate(["", "k", "", "k", "", "k"]):
        stamped = message(number, key)
        stamped.publish_time = clock.now()
        backlog.add(stamped)
        clock.advance(1)
    nacked = backlog.take(object(), 3, 600.0)
    for entry in nacked:
        backlog.modify(entry.ack_id, 0)
    backlog.purge(clock.time() - 2)
    clock.advance(60)
    assert numbers(backlog.take(object(), 10, 600.0)) == [4, 5]
    assert len(backlog) == 2
