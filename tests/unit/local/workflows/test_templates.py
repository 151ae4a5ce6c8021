from __future__ import annotations

import pytest

from saxflow.local.workflows.document import Node, read_source
from saxflow.local.workflows.expressions import Literal, Name
from saxflow.local.workflows.lexer import ExpressionError
from saxflow.local.workflows.steps import (
    Computed,
    Constant,
    ListTemplate,
    MapTemplate,
    Target,
    Template,
)
from saxflow.local.workflows.templates import read_target, read_template


def template(source: str) -> tuple[Template, list[str]]:
    problems: list[str] = []

    def report(node: Node, message: str) -> None:
        problems.append(f"{node.mark.line}: {message}")

    return read_template(read_source(source), report), problems


def test_literals_are_folded_into_one_constant() -> None:
    assert template("{a: [1, {b: text}], c: null}") == (
        Constant({"a": [1, {"b": "text"}], "c": None}),
        [],
    )


def test_expressions_are_found_at_any_depth() -> None:
    found, problems = template('{a: [1, "${x}"], "${k}": 2}')
    assert problems == []
    assert isinstance(found, MapTemplate)
    assert isinstance(found.entries[0][1], ListTemplate)
    assert isinstance(found.entries[1][0], Computed)


def test_an_expression_may_span_lines() -> None:
    found, problems = template("|\n  ${\n    x\n  }\n")
    assert problems == []
    assert isinstance(found, Computed)
    assert found.tree == Name("x")


@pytest.mark.parametrize("source", ['"a ${x}"', '"${x} b"', '"${x}${y}"', '"${}"', '["${x"]'])
def test_what_is_no_whole_expression_is_reported(source: str) -> None:
    _, problems = template(source)
    assert len(problems) == 1
    assert problems[0].startswith("1: ")


def test_targets() -> None:
    assert read_target("a") == Target("a")
    assert read_target('a.b["c d"][i]') == Target("a", (Literal("b"), Literal("c d"), Name("i")))
    for text in ("1", "f(x)", "a + b", "", "f(x).y"):
        with pytest.raises(ExpressionError):
            read_target(text)
