from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.workflows.stdlib.encoding import FUNCTIONS
from saxflow.local.workflows.values import FunctionRef

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("json.decode", ('{"a": [1, 2.0, null]}',), {"a": [1, 2.0, None]}),
        ("json.decode", (b'"\xc3\xa9"',), "é"),
        ("json.decode", (' "\\ud83d\\ude00" ',), "😀"),
        ("json.decode", ("9223372036854775808",), 9223372036854775808.0),
        ("json.encode", ({"a": "ü"},), '{"a":"ü"}'.encode()),
        ("json.encode_to_string", ({"a": "ü"},), '{"a":"ü"}'),
        ("json.encode_to_string", ([1],), "[1]"),
        ("json.encode_to_string", ([1], None), "[1]"),
        ("json.encode_to_string", ([1], 1), "[\n 1\n]"),
        ("json.encode_to_string", ({"a": 1}, {}), '{\n  "a": 1\n}'),
        ("json.encode_to_string", ([1], {"indent": 0}), "[\n1\n]"),
        ("base64.encode", (b"\xfb\xff",), "+/8="),
        ("base64.encode", (b"hi", False), "aGk"),
        ("base64.encode", (b"",), ""),
        ("base64.decode", ("aGk=",), b"hi"),
        ("base64.decode", ("aGk", False), b"hi"),
        ("time.format", (0,), "1970-01-01T00:00:00.000000Z"),
        ("time.format", (-0.5,), "1969-12-31T23:59:59.500000Z"),
        ("time.format", (0, "Europe/Berlin"), "1970-01-01T01:00:00.000000+01:00"),
        ("time.parse", ("1970-01-01T00:00:01.5Z",), 1.5),
        ("time.parse", ("1970-01-01t00:00:01z",), 1.0),
        ("time.parse", ("1970-01-01T01:00:00+01:00",), 0.0),
        ("time.parse", ("1970-01-01T00:00:00.123456789Z",), 0.123456),
        ("time.parse", ("1970-01-01T00:00:00",), 0.0),
        ("hash.compute_checksum", (b"abc", "MD5"), bytes.fromhex("900150983cd24fb0d6963f7d28e17f72")),
        ("hash.compute_hmac", (b"", b"", "SHA1"), bytes.fromhex("fbdb1d1b18aa6c08324b7d64b71fb76370690e1d")),
    ],
)  # fmt: skip
def test_values(call: Call, name: str, arguments: tuple[Any, ...], value: Any) -> None:
    answer = call(name, *arguments)
    assert (answer, type(answer)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("json.decode", (5,), "TypeError: json.decode needs a string or bytes, not integer"),
        ("json.decode", ("NaN",), "ValueError: not JSON: NaN is not JSON"),
        ("json.decode", ("[" * 100_000,), "ValueError: JSON is nested too deeply"),
        ("json.decode", ('"\\ud800"',), "ValueError: text with half of a surrogate pair"),
        ("json.encode", (b"x",), "TypeError: bytes cannot be encoded as JSON; use base64.encode or text.decode"),
        ("json.encode", ([FunctionRef("f")],), "TypeError: function cannot be encoded as JSON; use base64.encode or text.decode"),
        ("json.encode", ([1], "x"), "TypeError: indent must be of type integer, not string"),
        ("json.encode", ([1], True), "TypeError: indent must be of type integer, not boolean"),
        ("json.encode", ([1], {"indent": None}), "TypeError: indent must be of type integer, not null"),
        ("json.encode", ([1], -1), "ValueError: indent is -1; use 0 to 100"),
        ("json.encode_to_string", ([1], 10**12), f"ValueError: indent is {10**12}; use 0 to 100"),
        ("base64.encode", ("x",), "TypeError: data must be of type bytes, not string"),
        ("base64.encode", (b"x", 1), "TypeError: padding must be of type boolean, not integer"),
        ("base64.decode", (b"x",), "TypeError: data must be of type string, not bytes"),
        ("base64.decode", ("aGk",), "ValueError: base64.decode: Incorrect padding"),
        ("hash.compute_checksum", ("x", "MD5"), "TypeError: data must be of type bytes, not string"),
        ("hash.compute_checksum", (b"x", "CRC"), "ValueError: algorithm 'CRC' is unknown; use one of MD5, SHA1, SHA256, SHA384, SHA512"),
        ("hash.compute_checksum", (b"x", None), "TypeError: algorithm must be of type string, not null"),
        ("hash.compute_hmac", ("k", b"d", "MD5"), "TypeError: key must be of type bytes, not string"),
        ("time.format", ("0",), "TypeError: seconds must be a number, not string"),
        ("time.format", (0, 5), "TypeError: timezone must be of type string, not integer"),
        ("time.parse", (0,), "TypeError: value must be of type string, not integer"),
        ("time.parse", ("yesterday",), "ValueError: time.parse: 'yesterday' is not an RFC 3339 time"),
        ("time.parse", ("",), "ValueError: time.parse: '' is not an RFC 3339 time"),
        ("time.parse", ("2026-13-01T00:00:00Z",), "ValueError: time.parse: '2026-13-01T00:00:00Z' is not an RFC 3339 time"),
        ("time.parse", ("x" * 5000,), f"ValueError: time.parse: '{'x' * 60}' is not an RFC 3339 time"),
    ],
)  # fmt: skip
def test_errors(refusal: Call, name: str, arguments: tuple[Any, ...], message: str) -> None:
    assert refusal(name, *arguments) == message


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "01", "\x00", b"\xff"])
def test_texts_that_are_no_json(refusal: Call, text: Any) -> None:
    assert refusal("json.decode", text).startswith("ValueError: not JSON: ")


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [-math.inf]}])
def test_numbers_that_json_does_not_have(refusal: Call, value: Any) -> None:
    assert refusal("json.encode", value).startswith("ValueError: cannot encode as JSON")


@pytest.mark.parametrize("text", ["?", "é", "a b=", "-_8=", "aGk=\n"])
def test_texts_that_are_no_base64(refusal: Call, text: str) -> None:
    assert refusal("base64.decode", text).startswith("ValueError: base64.decode: ")


@pytest.mark.parametrize(
    ("seconds", "zone"),
    [(1e300, "UTC"), (-1e12, "UTC"), (math.nan, "UTC"), (2**63 - 1, "UTC"), (0, "Nowhere/Town"),
     (0, ""), (0, "../../etc/passwd"), (0, "/etc/passwd"), (0, "\0"), (0, "Europe"), (0, "x" * 5000)],
)  # fmt: skip
def test_times_that_cannot_be_told(refusal: Call, seconds: float, zone: str) -> None:
    assert refusal("time.format", seconds, zone).startswith(f"ValueError: time.format({seconds}, ")


def test_values_nested_without_end(refusal: Call) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert refusal("json.encode", deep).startswith("ResourceLimitError: value is nested too deeply")


def test_identities_differ(call: Call) -> None:
    one, other = call("uuid.generate"), call("uuid.generate")
    assert one != other
    assert uuid.UUID(one).version == 4
    assert re.fullmatch(r"[0-9a-f-]{36}", one)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    text = FUNCTIONS["json.encode_to_string"].apply(value)
    assert FUNCTIONS["json.decode"].apply(text) == value


@given(st.binary())
def test_base64_comes_back_as_it_was(data: bytes) -> None:
    for padding in (True, False):
        text = FUNCTIONS["base64.encode"].apply(data, padding)
        assert FUNCTIONS["base64.decode"].apply(text, padding) == data


@given(st.integers(0, 4_000_000_000))
def test_times_come_back_as_they_were(seconds: int) -> None:
    assert FUNCTIONS["time.parse"].apply(FUNCTIONS["time.format"].apply(seconds)) == seconds


def test_expressions_reach_the_functions(evaluate: Call, fails: Call) -> None:
    assert evaluate('base64.encode(json.encode({"a": 1}))') == "eyJhIjoxfQ=="
    assert fails('json.decode("{")') == "ValueError"
    assert fails('text.decode(text.encode("\\\\ud800"), "unicode_escape")') == "ValueError"
