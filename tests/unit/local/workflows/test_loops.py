from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.workflows import WorkflowFailure
from saxflow.local.workflows.loops import RANGE_LIMIT

RunIt = Callable[..., Any]


def test_for_over_lists_ranges_and_keys(run: RunIt) -> None:
    source = """
    - init: {assign: [{seen: []}]}
    - items:
        for:
          value: v
          index: i
          in: [a, b, c, d]
          steps:
            - skip:
                switch:
                  - condition: ${v == "b"}
                    next: continue
                  - condition: ${v == "d"}
                    next: break
            - add: {assign: [{seen: "${list.concat(seen, [i, v])}"}]}
    - range:
        for: {value: n, range: [3, 5], steps: [{add: {assign: [{seen: "${list.concat(seen, n)}"}]}}]}
    - computed:
        for: {value: n, range: "${[0, len(seen) - 5]}", steps: [{add: {assign: [{seen: "${list.concat(seen, -n)}"}]}}]}
    - empty:
        for: {value: n, range: [1, 0], steps: [{add: {raise: never}}]}
    - out: {return: "${seen}"}
    """
    assert run(source) == [[0, "a"], [2, "c"], 3, 4, 5, 0]


def test_variables_born_in_a_loop_stay_there(run: RunIt) -> None:
    source = """
    - init: {assign: [{kept: 0}]}
    - loop:
        for:
          value: v
          in: [1, 2]
          steps:
            - set: {assign: [{kept: "${v}"}, {lost: 1}]}
    - out: {return: ["${kept}", "${lost}"]}
    """
    with pytest.raises(WorkflowFailure, match="variable not found: lost"):
        run(source)


def test_ranges_are_bounded_by_the_step_limit(run: RunIt) -> None:
    source = """
    main:
      params: [last]
      steps:
        - p: {parallel: {for: {value: v, range: "${[1, last]}", steps: [{s: {assign: [{x: 1}]}}]}}}
    """
    assert run(source, 3) is None
    for last in (10**15, 1e300):
        with pytest.raises(WorkflowFailure, match="ResourceLimitError"):
            run(source, last)


def test_ranges_of_doubles(run: RunIt) -> None:
    source = """
    - init: {assign: [{seen: []}]}
    - loop: {for: {value: v, range: [0.5, 3], steps: [{s: {assign: [{seen: "${list.concat(seen, v)}"}]}}]}}
    - out: {return: "${seen}"}
    """
    assert run(source) == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("loop", "tag"),
    [
        ('in: "${5}"', "TypeError"),
        ('range: "${[1]}"', "TypeError"),
        ('range: "${[1, true]}"', "TypeError"),
        (f'range: "${{[1, {RANGE_LIMIT + 1}]}}"', "ResourceLimitError"),
    ],
)
def test_what_cannot_be_run_over(run: RunIt, loop: str, tag: str) -> None:
    with pytest.raises(WorkflowFailure) as caught:
        run(f"- a: {{for: {{value: v, {loop}, steps: [{{s: {{assign: [{{x: 1}}]}}}}]}}}}\n")
    assert caught.value.payload["tags"] == [tag]
