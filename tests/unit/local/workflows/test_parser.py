from __future__ import annotations

import json

import pytest

from saxflow.local.workflows.document import SourceError
from saxflow.local.workflows.parser import parse_workflow
from saxflow.local.workflows.steps import (
    Assign,
    CallStep,
    Computed,
    For,
    Nested,
    Parallel,
    Raise,
    ReturnStep,
    Switch,
    Try,
)

EVERYTHING = """
main:
  params: [args]
  steps:
    - a: {assign: [{x: 1}, {"m.k[x]": "${x}"}]}
    - b: {call: http.get, args: {url: "http://h"}, result: r, next: c}
    - c: {switch: [{condition: true, next: d}, {condition: "${x > 1}", return: 2}]}
    - d: {for: {value: v, index: i, in: [1, 2], steps: [{s: {assign: [{x: 1}]}}]}}
    - e: {parallel: {shared: [x], concurrency_limit: 2, exception_policy: continueAll, branches: [{p: {steps: [{s: {assign: [{x: 1}]}}]}}, {q: {call: sub}}]}}
    - f: {try: {call: sub}, retry: "${http.default_retry}", except: {as: e, steps: [{s: {raise: "${e}"}}]}}
    - g: {raise: {code: 1}}
    - h: {steps: [{s: {next: end}}]}
    - no: {return: "${x}"}
sub:
  params: [p, q: 5]
  steps: [{s: {return: 1}}]
"""


def test_every_kind_of_step() -> None:
    workflow = parse_workflow(EVERYTHING)
    steps = workflow.routines["main"].steps
    kinds = [type(step.body) for step in steps.steps]
    assert kinds == [
        Assign, CallStep, Switch, For, Parallel, Try, Raise, Nested, ReturnStep
    ]  # fmt: skip
    assert steps.steps[steps.positions["b"]].jump == "c"
    assert "no" in steps.positions
    assert [p.name for p in workflow.routines["sub"].parameters] == ["p", "q"]


def test_a_list_is_a_main_without_params() -> None:
    assert list(parse_workflow("- a: {return: 1}").routines) == ["main"]


def test_json_sources() -> None:
    source = json.dumps({"main": {"steps": [{"a": {"return": "${1 + 1}"}}]}})
    (step,) = parse_workflow(source).routines["main"].steps.steps
    assert isinstance(step.body, ReturnStep)
    assert isinstance(step.body.value, Computed)


def wrapped(step: str) -> str:
    return f"main:\n  steps:\n    - s:\n{step}"


@pytest.mark.parametrize(
    ("step", "part"),
    [
        ("        cal: x\n", "4:9: main.s: unexpected entry 'cal'"),
        ("        call: a b\n", "must be the name of a function"),
        ("        call: f\n        args: [1]\n", "args is a map"),
        ("        call: f\n        assign: [{x: 1}]\n", "not several"),
        ("        args: {a: 1}\n", "unexpected entry 'args'"),
        ("        {}\n", "does nothing"),
        ("        assign: {x: 1}\n", "'assign' must be a list"),
        ("        assign: []\n", "0 assignments"),
        ("        assign: [{x: 1, y: 2}]\n", "one key"),
        ("        assign: [{'1x': 1}]\n", "found 'x'"),
        ("        assign: [{'f(x)': 1}]\n", "cannot be assigned to"),
        ("        assign: [{x: 'a ${b}'}]\n", "mixes text and an expression"),
        ("        assign: [{x: '${1 +}'}]\n", "found the end"),
        ("        assign: [" + "{x: 1}," * 51 + "]\n", "51 assignments"),
        (f"        return: ${{{'1' * 401}}}\n", "401 characters"),
        ("        switch: [{next: end}]\n", "needs a 'condition'"),
        ("        switch: [{condition: 'yes', next: end}]\n", "true or false"),
        ("        switch: [{condition: true}]\n", "does nothing"),
        ("        for: {value: v, steps: [{a: {next: end}}]}\n", "'in' and 'range'"),
        ("        for: {in: [1], steps: [{a: {next: end}}]}\n", "needs 'value'"),
        ("        for: {value: v, in: 5, steps: [{a: {next: end}}]}\n", "'in' is a list"),
        ("        for: {value: v, range: [1], steps: [{a: {next: end}}]}\n", "two numbers"),
        ("        for: {value: v, range: ['${a}', 2], steps: [{a: {next: end}}]}\n", "${[first"),
        ("        parallel: {branches: [{a: {next: end}}]}\n", "1 branches"),
        ("        parallel: {shared: [x]}\n", "'branches' and 'for'"),
        ("        parallel: {exception_policy: stop, for: {}}\n", "continueAll"),
        ("        try: {call: f}\n", "needs 'retry' or 'except'"),
        (
            "        try: {call: f, next: end}\n        except: {steps: []}\n",
            "unexpected entry 'next'",
        ),
        ("        try: {for: {}}\n        except: {steps: []}\n", "step name should not be empty"),
        ("        try: {call: f}\n        except: {as: e}\n", "needs 'steps'"),
        ("        try: {call: f}\n        retry: always\n", "${http.default_retry}"),
        ("        try: {call: f}\n        retry: {max_retries: 1}\n", "needs a 'predicate'"),
        ("        next: '${x}'\n", "must be the name of a step"),
        ("        steps: []\n", "at least one step"),
        ("        - x\n", "a step is a map"),
    ],
)
def test_problems(step: str, part: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_workflow(wrapped(step))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("5", "a list of steps or a map"),
        ("sub: {steps: [{a: {return: 1}}]}", "'main' is missing"),
        ("main: {}", "'steps' is missing"),
        ("main: {params: [a, b], steps: [{a: {return: 1}}]}", "at most 1"),
        ("main: {params: ['1'], steps: [{a: {return: 1}}]}", "a param is a name"),
        ("main: {steps: [{a: {return: 1}}], step: 1}", "unexpected entry 'step'"),
        ("main: {steps: [{a: {return: 1}}, {a: {return: 1}}]}", "occurs twice"),
        ("main: {steps: [{a: {return: 1}, b: {return: 2}}]}", "one key, its name"),
        ("main: {steps: [{a: {return: 1}}]}\ns-1: {steps: [{a: {return: 1}}]}", "letters, digits"),
        (
            "main: {steps: [{a: {return: 1}}]}\ns: {params: [a, a], steps: [{a: {return: 1}}]}",
            "name one twice",
        ),
        (
            "main: {steps: [{a: {return: 1}}]}\ns: {params: [a: '${b}'], steps: [{a: {return: 1}}]}",
            "must be a literal",
        ),
        (
            "main: {steps: [{a: {return: 1}}]}\ns: {params: ['a b': 5], steps: [{a: {return: 1}}]}",
            "a param is a name",
        ),
    ],
)
def test_problems_of_routines(source: str, part: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_workflow(source)
    assert part in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SourceError) as caught:
        parse_workflow("main:\n  steps:\n    - a: {cal: 1}\n    - b: {assign: []}\n    - c: {}\n")
    assert [problem.path for problem in caught.value.problems] == [
        "main.a", "main.a", "main.b", "main.c"
    ]  # fmt: skip
