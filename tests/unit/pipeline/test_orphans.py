from dataclasses import replace

import pytest

from saxflow.head import Attempt, Finished, Head, Lease
from saxflow.names import deployment_id
from saxflow.pipeline.orphans import is_orphan

ID = deployment_id("llama", "1234", 1)
WANTED = Head("llama", desired="1234", attempts=1)
SERVING = replace(WANTED, serving=Attempt("1234", 1, queued_resource=ID))


def orphan(head: Head | None, identifier: str = ID, now: float = 100.0) -> bool:
    return is_orphan(identifier, {head.name: head} if head else {}, now=now)


def test_what_serves_or_is_tried_is_no_orphan() -> None:
    assert not orphan(SERVING)
    assert not orphan(replace(WANTED, candidate=Attempt("1234", 1, queued_resource=ID)))


def test_a_wanted_attempt_without_outcome_is_no_orphan() -> None:
    assert not orphan(WANTED)


@pytest.mark.parametrize(
    "head",
    [
        None,
        replace(WANTED, finished=Finished("1234", 1, "failed")),
        replace(WANTED, attempts=2),
        replace(WANTED, desired="2000"),
        replace(WANTED, desired="0", tombstone="1234"),
    ],
)
def test_an_attempt_nobody_refers_to_is_an_orphan(head: Head | None) -> None:
    assert orphan(head)


def test_nothing_is_an_orphan_while_somebody_acts() -> None:
    head = replace(WANTED, attempts=2, lease=Lease("e", 101.0))
    assert not orphan(head)
    assert orphan(head, now=102.0)


def test_a_head_that_cannot_be_read_keeps_what_it_may_hold() -> None:
    assert not is_orphan(ID, {"llama": None}, now=100.0)


def test_a_foreign_id_is_left_alone() -> None:
    assert not orphan(None, "somebody-elses-tpu")
