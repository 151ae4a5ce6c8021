from __future__ import annotations

from typing import Any

import pytest

from saxflow.local.workflows import WorkflowFailure
from saxflow.local.workflows.stdlib.signature import (
    Function,
    Signature,
    expect,
    expect_number,
    pure,
)

SUBSTRING = Signature.of("source start end?")


def message(error: pytest.ExceptionInfo[WorkflowFailure]) -> str:
    assert error.value.payload["tags"] == ["TypeError"]
    return error.value.payload["message"]


def test_parameters_are_read() -> None:
    assert Signature(("source", "start"), ("end",)) == SUBSTRING
    assert SUBSTRING.names == ("source", "start", "end")
    assert Signature.of("") == Signature()


def test_positional_arguments_get_names() -> None:
    assert SUBSTRING.bind("f", ["x", 1]) == {"source": "x", "start": 1}
    assert SUBSTRING.bind("f", ["x", 1, None]) == {"source": "x", "start": 1, "end": None}
    assert Signature().bind("f", []) == {}


@pytest.mark.parametrize("arguments", [[], [1], [1, 2, 3, 4]])
def test_too_few_or_too_many(arguments: list[Any]) -> None:
    with pytest.raises(WorkflowFailure) as caught:
        SUBSTRING.bind("text.f", arguments)
    assert message(caught) == (
        f"TypeError: text.f() takes 2 to 3 arguments (source, start, end), got {len(arguments)}"
    )


def test_named_arguments() -> None:
    SUBSTRING.check("f", {"start": 1, "source": None})
    SUBSTRING.check("f", {"start": 1, "source": None, "end": 2})
    with pytest.raises(WorkflowFailure) as caught:
        SUBSTRING.check("text.f", {"start": 1, "é": 2})
    assert message(caught) == (
        "TypeError: text.f: argument 'source' is missing;"
        " unexpected argument 'é'; known are source, start, end"
    )


def test_all_problems_at_once() -> None:
    assert SUBSTRING.problems(["source", "start"]) == []
    assert SUBSTRING.problems(["x", "y"]) == [
        "argument 'source' is missing",
        "argument 'start' is missing",
        "unexpected argument 'x'; known are source, start, end",
        "unexpected argument 'y'; known are source, start, end",
    ]
    assert Signature().problems(["x"]) == ["unexpected argument 'x'; known are none"]


def test_functions() -> None:
    function = pure("a b?", lambda a, b=2: a + b)
    assert isinstance(function, Function)
    assert (function.apply(1), function.signature.optional) == (3, ("b",))


@pytest.mark.parametrize(
    ("value", "kind"), [("x", str), (b"x", bytes), (1, int), (True, bool), ([], list), ({}, dict)]
)
def test_expected_types(value: Any, kind: type) -> None:
    assert expect(value, kind, "it") is value


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (True, int, "it must be of type integer, not boolean"),
        (1, bool, "it must be of type boolean, not integer"),
        (1, float, "it must be of type double, not integer"),
        (None, str, "it must be of type string, not null"),
        ("x", bytes, "it must be of type bytes, not string"),
        ({}, list, "it must be of type list, not map"),
        ([], dict, "it must be of type map, not list"),
    ],
)
def test_unexpected_types(value: Any, kind: type, words: str) -> None:
    with pytest.raises(WorkflowFailure) as caught:
        expect(value, kind, "it")
    assert message(caught) == f"TypeError: {words}"


@pytest.mark.parametrize("value", [True, None, "1", [], {}, b""])
def test_numbers(value: Any) -> None:
    assert (expect_number(1, "x"), expect_number(-0.5, "x")) == (1, -0.5)
    with pytest.raises(WorkflowFailure) as caught:
        expect_number(value, "x")
    assert message(caught).startswith("TypeError: x must be a number, not ")
