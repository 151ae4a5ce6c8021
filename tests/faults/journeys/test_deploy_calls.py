"""Every external call of a journey, struck in three ways: refused, done but unanswered, cut off.

A journey is a manifest dropped, deployed, deleted and torn down. The first one of a run meets no
fault and names the calls; then each call is struck in a journey of its own. The committed sample is
spread evenly over all cases; docs/faults.md says how to run them all and what came of it.
"""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor

from .chaos import Point
from .world import Outcome, World

ACTIONS = ("return-503", "execute-and-timeout", "return-reset-connection")
SAMPLE = int(os.environ.get("SAXFLOW_FAULT_CASES", "25"))
"""How many cases to run; 0 runs all."""

SIDE_BY_SIDE = 8


def points_of(world: World) -> list[Point]:
    """Return the calls of a journey without faults; what a converter uploads is its own affair."""
    name = world.name()
    outcome = world.journey(name)
    assert outcome.end == "serving"
    assert outcome.problems == []
    assert outcome.revived == 0
    return [
        point
        for point in world.chaos.calls[name]
        if not (point.method == "objects.insert" and point.subject.startswith("models/"))
        or point.subject.endswith("commit_success.txt")
    ]


def sample(cases: list[tuple[Point, str]]) -> list[tuple[Point, str]]:
    if not SAMPLE or len(cases) <= SAMPLE:
        return cases
    return random.Random(len(cases)).sample(cases, SAMPLE)


def test_every_call_may_be_refused_lost_or_cut_off(world: World) -> None:
    points = points_of(world)
    cases = [(point, action) for point in points for action in ACTIONS]
    chosen = sample(cases)

    def run(case: tuple[Point, str]) -> tuple[str, Outcome, bool]:
        name = world.name()
        world.chaos.strikes[name] = (*case, 1)
        outcome = world.journey(name)
        if outcome.problems or outcome.end != "serving" or outcome.revived:
            print("LOOK", *case, outcome, flush=True)
        return f"{case[0]} {case[1]}", outcome, name in world.chaos.struck

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        results = list(pool.map(run, chosen))
    struck = sum(met for _, _, met in results)
    ends = {end: sum(o.end == end for _, o, _ in results) for end in ("serving", "failed")}
    revived = sum(bool(outcome.revived) for _, outcome, _ in results)
    print(f"{len(points)} calls, {len(results)} cases, {struck} struck, {ends}, {revived} revived")
    wrong = {case: outcome for case, outcome, _ in results if outcome.problems}
    assert not wrong
    assert sum(ends.values()) == len(results)
    assert struck >= 0.6 * len(results)
