"""Templates of values: constants as they are, expressions computed, maps and lists inside out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.workflows.parser import parse_workflow
from saxflow.local.workflows.steps import (
    Assign,
    CallStep,
    For,
    MapTemplate,
    Nested,
    Parallel,
    Raise,
    ReturnStep,
    Switch,
    Try,
)

SOURCE = """
main:
  params: [a]
  steps:
    - set: {assign: [x: 1, x.y: 2]}
    - ask: {call: http.get, args: {url: u}, result: r, next: choose}
    - choose:
        switch:
          - condition: ${true}
            return: 1
    - loop: {for: {value: v, in: [1], steps: [{one: {assign: [x: 1]}}]}}
    - both: {parallel: {shared: [x], branches: [{l: {steps: [{two: {assign: [x: 1]}}]}}, {r: {steps: [{three: {assign: [x: 2]}}]}}]}}
    - safe: {try: {steps: [{four: {assign: [x: 1]}}]}, except: {as: e, steps: [{five: {raise: "${e}"}}]}}
    - inner: {steps: [{six: {assign: [x: 1]}}]}
    - stop: {raise: no}
    - answer: {return: {"${a}": 5}}
sub:
  params: [c, d: 5]
  steps: [{done: {return: 1}}]
"""


def test_every_kind_of_step_is_typed() -> None:
    routines = parse_workflow(SOURCE).routines
    main, sub = routines["main"], routines["sub"]
    kinds = [type(step.body) for step in main.steps.steps]
    assert kinds == [Assign, CallStep, Switch, For, Parallel, Try, Nested, Raise, ReturnStep]
    assert [parameter.name for parameter in sub.parameters] == ["c", "d"]
    assert sub.parameters[0].default is None
    assert sub.parameters[1].default is not None
    assert main.steps.positions["answer"] == 8
    assert main.steps.steps[1].jump == "choose"
    answer = main.steps.steps[8].body
    assert isinstance(answer, ReturnStep)
    assert isinstance(answer.value, MapTemplate)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("5", 5),
        ('"${args.n + 1}"', 3),
        ('[1, "${args.n}"]', [1, 2]),
        ('{a: {"${args.k}": ["${args.n}"]}}', {"a": {"key": [2]}}),
        ("plain text", "plain text"),
    ],
)
def test_templates_are_rendered(run: Callable[..., Any], template: str, value: Any) -> None:
    source = f"main:\n  params: [args]\n  steps:\n  - out:\n      return: {template}\n"
    assert run(source, {"n": 2, "k": "key"}) == value


def test_keys_are_strings(run: Callable[..., Any]) -> None:
    source = (
        'main:\n  params: [args]\n  steps:\n  - t:\n      try:\n        assign: [x: {"${args.n}": 1}]\n'
        "      except:\n        as: e\n        steps: [{out: {return: '${e.tags}'}}]\n"
    )
    assert run(source, {"n": 2}) == ["TypeError"]
