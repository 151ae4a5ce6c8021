from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.workflows.stdlib.helpers import FUNCTIONS
from saxflow.local.workflows.values import INT_MAX, INT_MIN, FunctionRef

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("default", (None, 1), 1),
        ("default", (False, 1), False),
        ("default", (0, 1), 0),
        ("default", ("", 1), ""),
        ("if", (True, 1, 2), 1),
        ("if", (False, 1, 2), 2),
        ("if", (None, 1, 2), 2),
        ("int", ("42",), 42),
        ("int", (" -42 ",), -42),
        ("int", (-2.7,), -2),
        ("int", (str(INT_MIN),), INT_MIN),
        ("double", ("2.5",), 2.5),
        ("double", ("1e3",), 1000.0),
        ("double", (2,), 2.0),
        ("string", (1.5,), "1.5"),
        ("string", (1.0,), "1.0"),
        ("string", (True,), "true"),
        ("string", (INT_MAX,), str(INT_MAX)),
        ("string", ("é",), "é"),
        ("keys", ({"b": 1, "a": 2},), ["b", "a"]),
        ("keys", ({},), []),
        ("len", ("äö😀",), 3),
        ("len", ([1, [2]],), 2),
        ("len", ({"a": 1},), 1),
        ("len", (b"ab",), 2),
        ("math.abs", (-3,), 3),
        ("math.abs", (-0.5,), 0.5),
        ("math.floor", (-1.5,), -2),
        ("math.floor", (7,), 7),
        ("math.max", (1, 2.5), 2.5),
        ("math.min", (1, 2.5), 1),
    ],
)
def test_values(call: Call, name: str, arguments: tuple[Any, ...], value: Any) -> None:
    answer = call(name, *arguments)
    assert (answer, type(answer)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("if", (1, 2, 3), "TypeError: condition must be of type boolean, not integer"),
        ("if", ("true", 2, 3), "TypeError: condition must be of type boolean, not string"),
        ("int", ("x",), "ValueError: cannot convert string 'x' to an integer"),
        ("int", ("1.5",), "ValueError: cannot convert string '1.5' to an integer"),
        ("int", ("1_000",), "ValueError: cannot convert string '1_000' to an integer"),
        ("int", ("\u0663",), "ValueError: cannot convert string '\u0663' to an integer"),
        ("int", ("",), "ValueError: cannot convert string '' to an integer"),
        ("int", ("9" * 5000,), f"ValueError: cannot convert string '{'9' * 40}' to an integer"),
        ("int", (str(INT_MAX + 1),), f"ValueError: integer overflow: {INT_MAX + 1} does not fit 64 bits"),
        ("int", (2.0**63,), f"ValueError: integer overflow: {2**63} does not fit 64 bits"),
        ("int", (math.inf,), "ValueError: cannot convert inf to integer"),
        ("int", (None,), "TypeError: cannot convert null to integer"),
        ("int", (True,), "TypeError: cannot convert boolean to integer"),
        ("int", ([1],), "TypeError: cannot convert list to integer"),
        ("double", ("x",), "ValueError: cannot convert string 'x' to a number"),
        ("double", ("\u0663",), "ValueError: cannot convert string '\u0663' to a number"),
        ("double", ({},), "TypeError: cannot convert map to double"),
        ("string", (None,), "TypeError: cannot convert null to string; use json.encode_to_string"),
        ("string", (b"x",), "TypeError: cannot convert bytes to string; use json.encode_to_string"),
        ("keys", ([],), "TypeError: the argument of keys() must be of type map, not list"),
        ("len", (5,), "TypeError: len() needs a string, list or map, not integer"),
        ("len", (None,), "TypeError: len() needs a string, list or map, not null"),
        ("math.abs", ("1",), "TypeError: x must be a number, not string"),
        ("math.abs", (True,), "TypeError: x must be a number, not boolean"),
        ("math.abs", (INT_MIN,), f"ValueError: integer overflow: {2**63} does not fit 64 bits"),
        ("math.floor", (math.nan,), "ValueError: math.floor of nan"),
        ("math.max", (1, "2"), "TypeError: y must be a number, not string"),
    ],
)  # fmt: skip
def test_errors(refusal: Call, name: str, arguments: tuple[Any, ...], message: str) -> None:
    assert refusal(name, *arguments) == message


def test_a_floor_beyond_64_bits(refusal: Call) -> None:
    assert refusal("math.floor", 1e300).endswith("does not fit 64 bits")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"), (True, "boolean"), (1, "integer"), (1.0, "double"), ("", "string"),
        (b"", "bytes"), ([], "list"), ({}, "map"), (FunctionRef("f"), "function"),
    ],
)  # fmt: skip
def test_names_of_types(call: Call, value: Any, name: str) -> None:
    assert call("get_type", value) == name


def test_expressions_reach_every_helper(evaluate: Call, fails: Call) -> None:
    assert evaluate('len(keys(a)) + int(double("2"))', a={"x": 1}) == 3
    assert fails("int(null)") == "TypeError"
    assert set(FUNCTIONS) >= {"default", "if", "math.floor", "string"}
