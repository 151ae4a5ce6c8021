"""Heads converge whatever the order of events, and survive JSON."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow import head as heads
from saxflow.errors import IntegrityError
from saxflow.head import Attempt, Finished, Head, Lease, Refusal, Source

SOURCE = Source("manifests", "tiny.yaml")

generations = st.integers(min_value=0, max_value=2**63 - 1).map(str)
texts = st.text(max_size=20)
times = st.floats(min_value=0, max_value=4e9)
attempts = st.builds(
    Attempt,
    generation=generations,
    attempt=st.integers(1, 99),
    execution=texts,
    phase=texts,
    queued_resource=texts,
    zone=texts,
    sax_root=texts,
    model_id=texts,
    checkpoint=texts,
    active_at=times,
    more=st.dictionaries(st.just("expires"), times),
)
all_heads = st.builds(
    Head,
    name=texts,
    source=st.none() | st.builds(Source, texts, texts),
    desired=generations,
    tombstone=generations,
    lease=st.none() | st.builds(Lease, texts, times, generations, st.integers(0, 9)),
    candidate=st.none() | attempts,
    serving=st.none() | attempts,
    finished=st.none() | st.builds(Finished, generations, st.integers(0, 9), texts),
    attempts=st.integers(0, 99),
)
event_lists = st.lists(
    st.tuples(st.sampled_from(["finalized", "deleted"]), st.integers(1, 6).map(str)), max_size=8
)


def replay(events: list[tuple[str, str]]) -> Head:
    head = Head("tiny")
    for kind, generation in events:
        after = (
            heads.desire(head, generation, SOURCE)
            if kind == "finalized"
            else heads.bury(head, generation)
        )
        head = head if isinstance(after, Refusal) else after
    return head


@given(all_heads)
def test_heads_survive_json(head: Head) -> None:
    assert heads.from_json(json.loads(head.encode())) == head


@given(event_lists.flatmap(lambda e: st.tuples(st.just(e), st.permutations(e + e[: len(e) // 2]))))
def test_order_and_repetition_do_not_matter(
    both: tuple[list[tuple[str, str]], list[tuple[str, str]]],
) -> None:
    one, other = (replay(events) for events in both)
    assert (one.desired, one.tombstone) == (other.desired, other.tombstone)


@given(event_lists)
def test_the_newest_live_generation_is_wanted(events: list[tuple[str, str]]) -> None:
    finalized = max((int(g) for kind, g in events if kind == "finalized"), default=0)
    deleted = max((int(g) for kind, g in events if kind == "deleted"), default=0)
    head = replay(events)
    assert int(head.desired) == (finalized if finalized > deleted else 0)
    assert int(head.tombstone) == deleted
    assert head.wanted == (finalized > deleted)


def test_a_repeated_generation_is_told_from_an_old_one() -> None:
    head = replay([("finalized", "10")])
    assert heads.desire(head, "10", SOURCE) == Refusal(
        "repeated", "generation 10 of tiny is wanted already"
    )
    assert heads.desire(head, "9", SOURCE) == Refusal(
        "superseded", "generation 9 of tiny is older than 10"
    )
    buried = replay([("finalized", "10"), ("deleted", "10")])
    refusal = heads.desire(buried, "10", SOURCE)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "deleted"


def test_generations_compare_as_numbers() -> None:
    assert replay([("finalized", "9"), ("finalized", "10")]).desired == "10"


def test_a_new_generation_starts_at_its_first_attempt() -> None:
    head = replay([("finalized", "5")])
    again = heads.retry(head, "5")
    assert isinstance(again, Head)
    assert (head.attempts, again.attempts) == (1, 2)
    newer = heads.desire(again, "6", SOURCE)
    assert isinstance(newer, Head)
    assert newer.attempts == 1


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([("finalized", "5"), ("finalized", "6")], "superseded"),
        ([("finalized", "5"), ("deleted", "5")], "deleted"),
        ([], "superseded"),
    ],
)
def test_an_execution_learns_that_it_has_to_stop(events: list[tuple[str, str]], code: str) -> None:
    head = replay(events)
    refusal = heads.superseded(head, "5")
    assert refusal is not None
    assert refusal.code == code
    assert heads.retry(head, "5") == refusal


def test_a_wanted_generation_goes_on() -> None:
    assert heads.superseded(replay([("finalized", "5")]), "5") is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"apiVersion": "saxflow/v2"}, "apiVersion"),
        ({"name": 7}, "name"),
        ({"desired": 7}, "desired"),
        ({"tombstone": "x"}, "tombstone"),
        ({"lease": "x"}, "lease"),
        ({"lease": {"execution": "e", "until": "soon"}}, "until"),
        ({"candidate": {"generation": "1"}}, "attempt"),
        ({"attempts": True}, "attempts"),
        ({"source": {"bucket": "b"}}, "object"),
    ],
)
def test_malformed_heads_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(IntegrityError, match=named):
        heads.from_json(Head("tiny").to_json() | change)


def test_what_a_workflow_adds_is_kept() -> None:
    stored = replace(Head("tiny"), serving=Attempt("1", 1)).to_json()
    stored["serving"]["cell_root"] = "tiny/1-a1"
    assert heads.from_json(stored).to_json()["serving"]["cell_root"] == "tiny/1-a1"
