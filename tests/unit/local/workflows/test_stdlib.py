from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.workflows.stdlib import CONSTANTS, FUNCTIONS
from saxflow.local.workflows.values import FunctionRef

Evaluate = Callable[..., Any]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("default(null, 1)", 1),
        ("default(false, 1)", False),
        ("if(true, 1, 2)", 1),
        ("if(null, 1, 2)", 2),
        ('int("42")', 42),
        ("int(-2.7)", -2),
        ('double("2.5")', 2.5),
        ("double(2)", 2.0),
        ("string(1.5)", "1.5"),
        ("string(true)", "true"),
        ("string(7)", "7"),
        ('keys({"a": 1, "b": 2})', ["a", "b"]),
        ('len("äö")', 2),
        ("len([1, 2])", 2),
        ("get_type(null)", "null"),
        ("get_type([])", "list"),
        ("math.abs(-3)", 3),
        ("math.floor(-1.5)", -2),
        ("math.max(1, 2.5)", 2.5),
        ("math.min(1, 2.5)", 1),
        ('text.split("a/b/c", "/")', ["a", "b", "c"]),
        ('text.replace_all("aXbX", "X", "-")', "a-b-"),
        ('text.replace_all_regex("a1b22", "[0-9]+", "<\\\\0>")', "a<1>b<22>"),
        ('text.find_all("abab", "b")', [{"index": 1, "match": "b"}, {"index": 3, "match": "b"}]),
        (
            'text.find_all_regex("a1b22", "[0-9]+")',
            [{"index": 1, "match": "1"}, {"index": 3, "match": "22"}],
        ),
        ('text.match_regex("zone-a", "^zone-[a-z]$")', True),
        ('text.substring("abcdef", 1, 3)', "bc"),
        ('text.to_upper("ä")', "Ä"),
        ('text.to_lower("ABC")', "abc"),
        ('text.url_encode("a b/c")', "a%20b%2Fc"),
        ('text.url_encode_plus("a b/c")', "a+b%2Fc"),
        ('text.url_decode("a%20b%2Fc+d")', "a b/c d"),
        ('text.decode(text.encode("ü"))', "ü"),
        ("list.concat([1], [2])", [1, [2]]),
        ("list.prepend([1], 0)", [0, 1]),
        ('map.get({"a": {"b": 1}}, "a")', {"b": 1}),
        ('map.get({"a": {"b": 1}}, ["a", "b"])', 1),
        ('map.get({"a": {"b": 1}}, ["a", "x", "y"])', None),
        ('map.get({"a": 1}, "z")', None),
        ('map.delete({"a": 1, "b": 2}, "a")', {"b": 2}),
        ('map.merge({"a": {"x": 1}}, {"a": {"y": 2}})', {"a": {"y": 2}}),
        ('map.merge_nested({"a": {"x": 1}}, {"a": {"y": 2}})', {"a": {"x": 1, "y": 2}}),
        ('json.decode("{\\"a\\": [1, 2.0, null]}")', {"a": [1, 2.0, None]}),
        ('json.encode_to_string({"a": "ü"})', '{"a":"ü"}'),
        ('base64.encode(json.encode({"a": 1}))', "eyJhIjoxfQ=="),
        ('text.decode(base64.decode("aGk="))', "hi"),
        ('text.decode(base64.decode("aGk", false))', "hi"),
        (
            'base64.encode(hash.compute_checksum(text.encode("abc"), "MD5"))',
            "kAFQmDzST7DWlj99KOF/cg==",
        ),
        ('len(hash.compute_hmac(text.encode("k"), text.encode("d"), "SHA256"))', 32),
        ("time.format(0)", "1970-01-01T00:00:00.000000Z"),
        ('time.format(0, "Europe/Berlin")', "1970-01-01T01:00:00.000000+01:00"),
        ('time.parse("1970-01-01T00:00:01.5Z")', 1.5),
        ('time.parse("1970-01-01T01:00:00+01:00")', 0.0),
        ('time.parse("2026-11-22T12:00:00.123456789Z") > 0', True),
        ("len(uuid.generate())", 36),
        ("sys.now()", 1000.0),
        ('sys.get_env("NOWHERE", "x")', "x"),
    ],
)
def test_values(evaluate: Evaluate, expression: str, value: Any) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "tag"),
    [
        ('int("x")', "ValueError"),
        ('int("1_000")', "ValueError"),
        ('int("99999999999999999999")', "ValueError"),
        ("int(null)", "TypeError"),
        ("int(true)", "TypeError"),
        ('double("x")', "ValueError"),
        ("string(null)", "TypeError"),
        ("string([])", "TypeError"),
        ("keys([])", "TypeError"),
        ("len(5)", "TypeError"),
        ("if(1, 2, 3)", "TypeError"),
        ('math.abs("1")', "TypeError"),
        ('text.substring("abc", 2, 9)', "IndexError"),
        ('text.match_regex("a", "(?=a)")', "ValueError"),
        ('text.match_regex("a", "(")', "ValueError"),
        ("text.split(1, 2)", "TypeError"),
        ('text.decode("x")', "TypeError"),
        ('text.encode("x", "no-such")', "ValueError"),
        ('list.concat("a", 1)', "TypeError"),
        ("map.get([], 1)", "TypeError"),
        ("map.get({}, 1)", "TypeError"),
        ('json.decode("{")', "ValueError"),
        ('json.decode("NaN")', "ValueError"),
        ("json.decode(5)", "TypeError"),
        ('json.decode("\\"\\\\ud800\\"")', "ValueError"),
        ('text.decode(text.encode("\\\\ud800"), "unicode_escape")', "ValueError"),
        ('json.encode(text.encode("x"))', "TypeError"),
        ('base64.encode("x")', "TypeError"),
        ('base64.decode("?")', "ValueError"),
        ('hash.compute_checksum(text.encode("x"), "CRC")', "ValueError"),
        ('time.parse("yesterday")', "ValueError"),
        ('time.format(0, "Nowhere/Town")', "ValueError"),
        ("time.format(1e300)", "ValueError"),
        ('sys.get_env("NOWHERE")', "KeyError"),
    ],
)
def test_errors(fails: Evaluate, expression: str, tag: str) -> None:
    assert fails(expression) == tag


@pytest.mark.parametrize(
    ("error", "idempotent", "any_call"),
    [
        ({"tags": ["HttpError"], "code": 429}, True, True),
        ({"tags": ["HttpError"], "code": 503}, True, True),
        ({"tags": ["HttpError"], "code": 502}, True, False),
        ({"tags": ["HttpError"], "code": 500}, False, False),
        ({"tags": ["HttpError"], "code": 404}, False, False),
        ({"tags": ["ConnectionFailedError"]}, True, True),
        ({"tags": ["ConnectionError"]}, True, False),
        ({"tags": ["TimeoutError"]}, True, False),
        ({"code": 503}, False, False),
        ("text", False, False),
    ],
)
def test_retry_predicates(error: Any, idempotent: bool, any_call: bool) -> None:
    predicate = FUNCTIONS["http.default_retry_predicate"].apply
    cautious = FUNCTIONS["http.default_retry_predicate_non_idempotent"].apply
    assert (predicate(error), cautious(error)) == (idempotent, any_call)


def test_policies_refer_to_predicates() -> None:
    assert CONSTANTS["http.default_retry"]["predicate"] == FunctionRef(
        "http.default_retry_predicate"
    )
    assert CONSTANTS["http.default_retry"]["max_retries"] == 5
    assert CONSTANTS["retry.default_backoff"]["multiplier"] == 1.25


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


def test_functions_can_be_called_as_steps_by_name(run: Evaluate) -> None:
    source = """
    - a: {call: text.split, args: {source: "a,b", separator: ","}, result: parts}
    - out: {return: "${parts}"}
    """
    assert run(source) == ["a", "b"]
