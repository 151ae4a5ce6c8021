from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Evaluate = Callable[..., Any]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("7 / 2", 3.5),
        ("4 / 2", 2.0),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("7.5 // 2", 3),
        ("7 % 3", 1),
        ("1 + 0.5", 1.5),
        ('"a" + "b"', "ab"),
        ('"a" < "b"', True),
        ("1 == 1.0", True),
        ("1 == true", False),
        ('1 == "1"', False),
        ("null == null", True),
        ("null == false", False),
        ("[1, [2]] == [1, [2]]", True),
        ("[1] == [true]", False),
        ('{"a": 1} == {"a": 1}', True),
        ("2 in [1, 2]", True),
        ("true in [1]", False),
        ('"a" in {"a": null}', True),
        ('"b" not in {"a": null}', True),
        ("1 in {}", False),
        ("not false", True),
        ("-(3)", -3),
        ("[1, 2][1]", 2),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ("99999999999999999999", 1e20),
        ("false and 1 / 0 == 1", False),
        ("true or 1 / 0 == 1", True),
    ],
)
def test_values(evaluate: Evaluate, expression: str, value: Any) -> None:
    result = evaluate(expression)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("expression", "tag"),
    [
        ('"a" + 5', "TypeError"),
        ("true + 1", "TypeError"),
        ("null + 1", "TypeError"),
        ('"a" < 1', "TypeError"),
        ("null < 1", "TypeError"),
        ('not "a"', "TypeError"),
        ("1 and true", "TypeError"),
        ("true and 1", "TypeError"),
        ('-"a"', "TypeError"),
        ('"a" in "abc"', "TypeError"),
        ("[1] + [2]", "TypeError"),
        ("[1][true]", "TypeError"),
        ('"abc"[0]', "TypeError"),
        ("{1: 2}", "TypeError"),
        ("1 / 0", "ZeroDivisionError"),
        ("1 // 0.0", "ZeroDivisionError"),
        ("1 % 0", "ZeroDivisionError"),
        ("[1][1]", "IndexError"),
        ("[1][-1]", "IndexError"),
        ('{"a": 1}["b"]', "KeyError"),
        ("nowhere", "KeyError"),
        ("nowhere.a", "KeyError"),
        ("no_such(1)", "KeyError"),
        ("9223372036854775807 + 1", "ValueError"),
        ("-(-9223372036854775807 - 1)", "ValueError"),
    ],
)
def test_errors(fails: Evaluate, expression: str, tag: str) -> None:
    assert fails(expression) == tag


def test_property_access(evaluate: Evaluate, fails: Evaluate) -> None:
    assert evaluate("m.a.b", m={"a": {"b": 1}}) == 1
    assert fails("m.x", m={}) == "KeyError"
    assert fails("m.x", m=[1]) == "TypeError"


def test_a_variable_hides_the_library_of_its_name(evaluate: Evaluate) -> None:
    assert evaluate("retry.always", retry={"always": 3}) == 3
    assert evaluate("map.get(map, key)", map={"k": 5}, key="k") == 5


def test_library_functions_that_block_are_refused_in_expressions(fails: Evaluate) -> None:
    assert fails("sys.sleep(1)") == "TypeError"


def test_wrong_number_of_arguments(fails: Evaluate) -> None:
    assert fails("len()") == "TypeError"
    assert fails("len([], [])") == "TypeError"
