from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.workflows.stdlib.texts import FUNCTIONS

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("split", ("a/b//c", "/"), ["a", "b", "", "c"]),
        ("split", ("", "/"), [""]),
        ("split", ("é😀", ""), ["é", "😀"]),
        ("replace_all", ("aXbX", "X", "-"), "a-b-"),
        ("replace_all", ("a.b", ".", "\\0"), "a\\0b"),
        ("find_all", ("a.a", "."), [{"index": 1, "match": "."}]),
        ("find_all", ("aaa", "aa"), [{"index": 0, "match": "aa"}]),
        ("find_all", ("😀b", "b"), [{"index": 1, "match": "b"}]),
        ("find_all", ("a", "b"), []),
        ("find_all_regex", ("a1b22", "[0-9]+"), [{"index": 1, "match": "1"}, {"index": 3, "match": "22"}]),
        ("substring", ("abcdef", 1, 3), "bc"),
        ("substring", ("abc", 3, 3), ""),
        ("substring", ("😀b", 0, 1), "😀"),
        ("to_upper", ("äß",), "ÄSS"),
        ("to_lower", ("ÄBC",), "äbc"),
        ("url_encode", ("a b/c?d=é~*",), "a%20b%2Fc%3Fd%3D%C3%A9~%2A"),
        ("url_encode_plus", ("a b/c",), "a+b%2Fc"),
        ("url_decode", ("a%20b%2Fc+d%C3%A9",), "a b/c dé"),
        ("url_decode", ("100%",), "100%"),
        ("encode", ("ü",), b"\xc3\xbc"),
        ("encode", ("ü", "latin-1"), b"\xfc"),
        ("decode", (b"\xc3\xbc",), "ü"),
        ("decode", (b"\xfc", "latin-1"), "ü"),
    ],
)  # fmt: skip
def test_values(call: Call, name: str, arguments: tuple[Any, ...], value: Any) -> None:
    assert call(f"text.{name}", *arguments) == value


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("split", (1, "/"), "TypeError: source must be of type string, not integer"),
        ("split", ("a", None), "TypeError: separator must be of type string, not null"),
        ("replace_all", ("a", "b", 1), "TypeError: repl must be of type string, not integer"),
        ("substring", ("abc", 2, 9), "IndexError: text.substring: [2, 9) in a string of 3"),
        ("substring", ("abc", 2, 1), "IndexError: text.substring: [2, 1) in a string of 3"),
        ("substring", ("abc", -1, 1), "IndexError: text.substring: [-1, 1) in a string of 3"),
        ("substring", ("abc", 1.0, 2), "TypeError: start must be of type integer, not double"),
        ("substring", ("abc", True, 2), "TypeError: start must be of type integer, not boolean"),
        ("encode", ("x", "no-such"), "ValueError: text.encode: unknown encoding: no-such"),
        ("encode", ("x", "\0"), "ValueError: text.encode: embedded null character"),
        ("decode", ("x",), "TypeError: data must be of type bytes, not string"),
        ("decode", (b"x", "\0"), "ValueError: text.decode: embedded null character"),
        ("match_regex", ("a", 5), "TypeError: regexp must be of type string, not integer"),
        ("match_regex", ("a", "[[:nobody:]]"), "ValueError: regular expression: the class [:nobody:] is not supported"),
        ("match_regex", ("a", "[[:^alpha:]]"), "ValueError: regular expression: the class [:^alpha:] is not supported"),
        ("replace_all_regex", ("a", "a", "\\1"), r"ValueError: replacement '\\1': '\\1' is neither a group nor a backslash"),
        ("replace_all_regex", ("a", "a", "\\n"), r"ValueError: replacement '\\n': '\\n' is neither a group nor a backslash"),
        ("replace_all_regex", ("a", "a", "\\g<0>"), r"ValueError: replacement '\\g<0>': '\\g' is neither a group nor a backslash"),
        ("replace_all_regex", ("a", "a", "x\\"), r"ValueError: replacement 'x\\': '\\' is neither a group nor a backslash"),
    ],
)  # fmt: skip
def test_errors(refusal: Call, name: str, arguments: tuple[Any, ...], message: str) -> None:
    assert refusal(f"text.{name}", *arguments) == message


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("encode", ("é", "ascii")),
        ("encode", ("x", "base64")),
        ("encode", ("\ud800",)),
        ("decode", (b"\xff",)),
        ("decode", (b"\\ud800", "unicode_escape")),
        ("decode", (b"x", "zlib")),
        ("url_decode", ("%ff",)),
    ],
)
def test_bytes_and_texts_that_do_not_fit(
    refusal: Call, name: str, arguments: tuple[Any, ...]
) -> None:
    assert refusal(f"text.{name}", *arguments).startswith("ValueError: ")


@pytest.mark.parametrize(
    ("regexp", "text", "matches"),
    [
        ("^zone-[a-z]$", "zone-a", True),
        ("", "", True),
        ("(?i)ABC", "xabcx", True),
        (r"^\d$", "5", True),
        (r"^\d$", "\u0663", False),
        (r"^\w+$", "abc_9", True),
        (r"^\w$", "é", False),
        ("^.$", "é", True),
        ("^[é-ü]$", "ö", True),
        ("^[[:alpha:]]+$", "abc", True),
        ("^[[:alpha:]]+$", "ab:", False),
        ("^[^[:space:][:digit:]x]$", "y", True),
        ("^[^[:space:][:digit:]x]$", "5", False),
        ("^[[:punct:]]$", "]", True),
        ("^[[]$", "[", True),
        ("^[]a]$", "]", True),
        ("^[a&&b]$", "&", True),
        (r"^[\]]$", "]", True),
        (r"a\z", "a", True),
        (r"a\z", "a\n", False),
        (r"^\\1$", r"\1", True),
        (r"^\++$", "++", True),
        ("^[?+*]+$", "?+*", True),
        (r"^\(\?=$", "(?=", True),
        ("^[(?=]+$", "(?=", True),
        ("(?P<name>a)", "a", True),
    ],
)
def test_what_regular_expressions_match(call: Call, regexp: str, text: str, matches: bool) -> None:
    assert call("text.match_regex", text, regexp) is matches


@pytest.mark.parametrize(
    "regexp",
    ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1", "(?P<n>a)(?P=n)", "a++", "a*+", "a?+", "a{2}+",
     "[a]++", "(?>a)", "(a)(?(1)b|c)", "(?#note)", "(?x)a", "(?a)a", "(?iu)a", r"a\Z", r"\N{DIGIT ONE}"],
)  # fmt: skip
def test_what_re2_does_not_have(refusal: Call, regexp: str) -> None:
    assert refusal("text.match_regex", "a", regexp) == (
        f"ValueError: regular expression {regexp!r} uses what RE2 does not have"
    )


@pytest.mark.parametrize(
    "regexp", ["(", ")", "[", "*", "a**", "(?P<>a)", r"\p{L}", "a{99999999999}", "(" * 5000]
)
def test_what_cannot_be_compiled(refusal: Call, regexp: str) -> None:
    message = refusal("text.find_all_regex", "a", regexp)
    assert message.startswith(f"ValueError: regular expression {regexp[:60]!r}: ")


@pytest.mark.parametrize(
    ("regexp", "replacement", "result"),
    [
        ("[0-9]+", "<\\0>", "a<1>b<22>"),
        ("([a-z])([0-9])", "\\2\\1", "1a2b2"),
        ("([0-9])|x", "[\\1]", "a[1]b[2][2]"),
        ("a(x)?", "<\\1>", "<>1b22"),
        ("a", "\\\\0", "\\01b22"),
        ("a", "\\00", "a01b22"),
        ("a", "$1 \\g".replace("\\g", "&"), "$1 &1b22"),
        ("z*", "-", "-a-1-b-2-2-"),
    ],
)
def test_replacements(call: Call, regexp: str, replacement: str, result: str) -> None:
    assert call("text.replace_all_regex", "a1b22", regexp, replacement) == result


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_encodings_come_back(text: str) -> None:
    for there, back in (
        ("url_encode", "url_decode"),
        ("url_encode_plus", "url_decode"),
        ("encode", "decode"),
    ):
        assert FUNCTIONS[f"text.{back}"].apply(FUNCTIONS[f"text.{there}"].apply(text)) == text


def test_expressions_reach_the_functions(evaluate: Call, fails: Call) -> None:
    assert evaluate('text.replace_all_regex("a1", "[0-9]", "<\\\\0>")') == "a<1>"
    assert evaluate('text.url_encode("a/b")') == "a%2Fb"
    assert fails('text.match_regex("a", "(?=a)")') == "ValueError"
