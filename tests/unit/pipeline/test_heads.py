"""Heads are changed by compare and swap: of any number of writers each counts once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from saxflow.errors import BusyError, IntegrityError
from saxflow.head import Head, Refusal
from saxflow.pipeline.heads import all_heads, change_head, head_uri, read_head
from saxflow.pipeline.services import Services

WRITERS = 16


def once_more(head: Head) -> Head:
    return replace(head, attempts=head.attempts + 1)


def test_a_deployment_that_never_was_has_no_head(services: Services) -> None:
    assert read_head(services, "never") is None


def test_the_first_change_creates_the_head(services: Services) -> None:
    changed = change_head(services, "first", once_more)
    found = read_head(services, "first")
    assert found
    assert found[0] == changed == Head("first", attempts=1)


def test_a_refusal_leaves_the_head_alone(services: Services) -> None:
    change_head(services, "refused", once_more)
    before = read_head(services, "refused")
    refusal = Refusal("repeated", "no")
    assert change_head(services, "refused", lambda _: refusal) is refusal
    assert read_head(services, "refused") == before
    assert change_head(services, "unborn", lambda _: refusal) is refusal
    assert read_head(services, "unborn") is None


def test_every_change_of_racing_writers_counts_once(services: Services) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        changed = list(pool.map(lambda _: change_head(services, "race", once_more), range(WRITERS)))
    assert sorted(head.attempts for head in changed if isinstance(head, Head)) == list(
        range(1, WRITERS + 1)
    )
    found = read_head(services, "race")
    assert found
    assert found[0].attempts == WRITERS


def test_a_race_lost_for_ever_is_told(services: Services) -> None:
    def overtaken(head: Head) -> Head:
        change_head(services, "lost", once_more)
        return once_more(head)

    with pytest.raises(BusyError, match="head of lost changed 50 times"):
        change_head(services, "lost", overtaken)


def test_a_damaged_head_is_named(services: Services) -> None:
    uri = head_uri(services, "damaged")
    services.objects.write(uri, b'{"apiVersion": "saxflow/v2"}', if_generation=None)
    with pytest.raises(IntegrityError, match="saxflow/v2"):
        read_head(services, "damaged")
    services.objects.delete(uri)


def test_all_heads_are_the_heads_alone(
    services: Services, put_head: Callable[[Head], Head]
) -> None:
    for name in ("all-b", "all-a"):
        put_head(Head(name, attempts=3))
    prefix = head_uri(services, "all-a")
    other = replace(prefix, name="deployments/all-a/1000/head.json")
    services.objects.write(other, b"not a head", if_generation=None)
    found = [head for head in all_heads(services) if head.name.startswith("all-")]
    assert found == [Head("all-a", attempts=3), Head("all-b", attempts=3)]
