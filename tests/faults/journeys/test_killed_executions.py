"""Executions that die, hang or lose their lease at any point: reconcile makes the journey whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from saxflow.pipeline.services import Services

from .invariants import after_deployment, after_teardown
from .world import World

LEASE_SECONDS = 2.0
EVENTS = (
    "manifest.accepted",
    "conversion.started",
    "tpu.requested",
    "tpu.active",
    "sax.starting",
    "conversion.finished",
    "checkpoint.committed",
    "sax.ready",
    "model.publishing",
    "model.published",
    "model.serving",
    "deployment.deleting",
)
SIDE_BY_SIDE = 6
EVERY = int(os.environ.get("SAXFLOW_KILL_STRIDE", "17"))
"""One kill in so many calls."""


@pytest.fixture
def hasty(world: World) -> Services:
    """Return services whose plans have a short lease."""
    return world.hasty(LEASE_SECONDS)


def killed(world: World, services: Services, strike: Callable[[str, str], bool]) -> list[str]:
    """Take one journey, killing its Executions once `strike` says so; return what is wrong."""
    name = world.name()
    generation = world.drop(name, services=services)
    armed = True

    def watch() -> None:
        nonlocal armed
        if armed and strike(name, generation):
            armed = False
            world.kill(name)

    problems: list[str] = []
    try:
        world.deployed(name, generation, watch)
        problems += after_deployment(world.seen, name, generation)
        head = world.seen.head(name)
        if head.serving is None:
            problems.append(f"did not serve: {world.seen.log(name, generation)[-1].data}")
        world.remove(name, generation)
        world.deleted(name, watch)
        problems += after_teardown(world.seen, name, generation)
    except AssertionError as error:
        problems.append(str(error))
    if armed:
        problems.append("was never killed")
    return problems


def side_by_side(run: Callable[[Any], list[str]], cases: list[Any]) -> dict[Any, list[str]]:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        results = dict(zip(cases, pool.map(run, cases), strict=True))
    return {case: problems for case, problems in results.items() if problems}


def test_killed_after_each_event(world: World, hasty: Services) -> None:
    def run(event: str) -> list[str]:
        def said(name: str, generation: str) -> bool:
            return any(each.name == event for each in world.seen.log(name, generation))

        return killed(world, hasty, said)

    assert side_by_side(run, list(EVENTS)) == {}


def test_killed_after_any_call(world: World, hasty: Services) -> None:
    def run(calls: int) -> list[str]:
        return killed(world, hasty, lambda name, _: len(world.chaos.calls.get(name, ())) >= calls)

    assert side_by_side(run, list(range(20, 300, EVERY))) == {}
