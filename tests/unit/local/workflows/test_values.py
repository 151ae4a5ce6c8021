from __future__ import annotations

from typing import Any

import pytest

from saxflow.local.workflows.failures import (
    Place,
    WorkflowFailure,
    context_of,
    describe,
    key_error,
    tags_of,
)
from saxflow.local.workflows.values import (
    FunctionRef,
    checked_key,
    equal,
    error_json,
    fitting,
    from_json,
    size_of,
    text_of,
    to_json,
    type_name,
)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "boolean"),
        (1, "integer"),
        (1.0, "double"),
        ("", "string"),
        (b"", "bytes"),
        ([], "list"),
        ({}, "map"),
        (FunctionRef("f"), "function"),
    ],
)
def test_names_of_types(value: Any, name: str) -> None:
    assert type_name(value) == name


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        ([1, {"a": 2}], [1.0, {"a": 2}], True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 2], False),
        (None, False, False),
        ("a", b"a", False),
    ],
)
def test_equality(left: Any, right: Any, same: bool) -> None:
    assert equal(left, right) is same


def test_sizes_grow_with_content() -> None:
    assert size_of("äb") == 3
    assert size_of({"key": "value"}) > size_of("value")
    assert size_of([1, 2]) == 2 * size_of([1])
    with pytest.raises(WorkflowFailure, match="string of 262145 bytes"):
        size_of(["x" * (256 * 1024 + 1)])


def test_json_keeps_64_bit_integers_and_text() -> None:
    value = {"n": 2**63 - 1, "t": "ü", "big": 2.5}
    assert from_json(to_json(value)) == value
    assert from_json("9223372036854775808") == 2.0**63
    assert to_json({"a": [1]}, indent=2) == '{\n  "a": [\n    1\n  ]\n}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", FunctionRef("f")])
def test_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(WorkflowFailure):
        to_json(value)


def test_numbers_beyond_64_bits_are_doubles() -> None:
    assert [fitting(n) for n in (2**63 - 1, -(2**63))] == [2**63 - 1, -(2**63)]
    assert type(fitting(2**63)) is float
    assert from_json("1" + "0" * 5000) == float("inf")
    assert from_json("-" + "9" * 25) == -1e25


def test_keys_of_maps_are_strings() -> None:
    assert checked_key("") == ""
    for key in (1, None, b"a"):
        with pytest.raises(WorkflowFailure, match="map keys are strings"):
            checked_key(key)


def test_errors_that_json_cannot_hold_are_described() -> None:
    assert error_json({"message": "no", "code": 5}) == '{"message":"no","code":5}'
    assert error_json({"message": "nö", "body": b"x"}) == '"nö"'


def test_deeply_nested_json_is_refused() -> None:
    with pytest.raises(WorkflowFailure, match="too deeply"):
        from_json("[" * 100_000)


@pytest.mark.parametrize("text", [b'"\xed\xa0\x80"', b'"\xff"', '"\ud800"', r'"\ud800"'])
def test_text_that_is_not_unicode_is_not_json(text: str | bytes) -> None:
    with pytest.raises(WorkflowFailure, match="ValueError"):
        from_json(text)


def test_bytes_may_begin_with_a_mark() -> None:
    assert from_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_text_of_numbers() -> None:
    assert [text_of(value) for value in (1, 1.5, 1e20, False)] == ["1", "1.5", "1e+20", "false"]


def test_errors_describe_themselves() -> None:
    assert describe({"message": "no", "tags": ["KeyError", 5]}) == "no"
    assert describe({"code": 5}) == 'RuntimeError: {"code": 5}'
    assert describe("plain") == 'RuntimeError: "plain"'
    assert str(key_error("key not found: a")) == "KeyError: key not found: a"
    place = Place("main", "step", 3)
    assert context_of("no", place) == 'RuntimeError: "no"\nin step "step", routine "main", line: 3'
    assert tags_of({"tags": "HttpError"}) == []
