from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("list.concat", ([1], [2]), [1, [2]]),
        ("list.concat", ([], None), [None]),
        ("list.prepend", ([1], 0), [0, 1]),
        ("map.get", ({"a": {"b": 1}}, "a"), {"b": 1}),
        ("map.get", ({"a": {"b": 1}}, ["a", "b"]), 1),
        ("map.get", ({"a": {"b": 1}}, ["a", "x", "y"]), None),
        ("map.get", ({"a": [1]}, ["a", "b"]), None),
        ("map.get", ({"a": None}, "a"), None),
        ("map.get", ({"a.b": 1}, "a.b"), 1),
        ("map.get", ({}, "é"), None),
        ("map.delete", ({"a": 1, "b": 2}, "a"), {"b": 2}),
        ("map.delete", ({"a": 1}, "z"), {"a": 1}),
        ("map.merge", ({"a": {"x": 1}, "b": 1}, {"a": {"y": 2}}), {"a": {"y": 2}, "b": 1}),
        ("map.merge_nested", ({"a": {"x": 1}}, {"a": {"y": 2}}), {"a": {"x": 1, "y": 2}}),
        ("map.merge_nested", ({"a": {"x": 1}}, {"a": None}), {"a": None}),
        ("map.merge_nested", ({"a": [1]}, {"a": [2]}), {"a": [2]}),
    ],
)
def test_values_are_new(call: Call, name: str, arguments: tuple[Any, ...], value: Any) -> None:
    before = copy.deepcopy(arguments)
    assert call(name, *arguments) == value
    assert arguments == before


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("list.concat", ("a", 1), "TypeError: objs must be of type list, not string"),
        ("list.prepend", (None, 1), "TypeError: objs must be of type list, not null"),
        ("map.get", ([], "a"), "TypeError: map must be of type map, not list"),
        ("map.get", ({}, 1), "TypeError: keys must be a string or a list of strings, not integer"),
        ("map.get", ({}, ["a", 0]), "TypeError: each of keys must be of type string, not integer"),
        ("map.delete", ({}, 5), "TypeError: key must be of type string, not integer"),
        ("map.delete", (None, "a"), "TypeError: map must be of type map, not null"),
        ("map.merge", ({}, None), "TypeError: second must be of type map, not null"),
        ("map.merge_nested", ([], {}), "TypeError: first must be of type map, not list"),
    ],
)
def test_errors(refusal: Call, name: str, arguments: tuple[Any, ...], message: str) -> None:
    assert refusal(name, *arguments) == message


def test_maps_nested_without_end(refusal: Call) -> None:
    deep: dict[str, Any] = {}
    for _ in range(10_000):
        deep = {"a": deep}
    assert refusal("map.merge_nested", deep, deep) == (
        "ResourceLimitError: maps are nested too deeply to be merged"
    )


def test_expressions_reach_the_functions(evaluate: Call, fails: Call) -> None:
    assert evaluate('map.get({"a": {"b": 1}}, ["a", "b"])') == 1
    assert evaluate("list.concat(a, 2)", a=[1]) == [1, 2]
    assert fails("map.get({}, 1)") == "TypeError"
