"""Hostile and odd files become values with places, or clear refusals; never objects."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import ManifestError
from saxflow.manifest import document
from saxflow.manifest.document import Mark

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3)
    ),
    max_leaves=10,
)


def read(text: str | bytes, name: str = "a.yaml") -> document.Document:
    data = text if isinstance(text, bytes) else text.encode()
    return document.read(data, source_name=name)


def message(text: str | bytes, name: str = "a.yaml") -> str:
    with pytest.raises(ManifestError) as caught:
        read(text, name)
    (problem,) = caught.value.problems
    return str(problem)


@given(values)
def test_json_means_what_json_says(value: Any) -> None:
    assert read(json.dumps(value), "a.json").value == value
    assert read(json.dumps(value, indent="\t"), "a.json").value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("1:30", "1:30"),
        ("0777", "0777"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0x10", "0x10"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("10.0", 10),
        ("1e3", 1000),
        ("~", None),
        ("", None),
        ("'12'", "12"),
        ("'true'", "true"),
        ("8h", "8h"),
        ("9" * 30, float("9" * 30)),
    ],
)
def test_plain_scalars_are_yaml_1_2(text: str, value: Any) -> None:
    found = read(f"key: {text}\n").value["key"]
    assert found == value
    assert type(found) is type(value)


def test_places_are_remembered() -> None:
    found = read("a: 1\nb:\n  c: [x, yy]\n")
    assert found.keys[("b", "c")] == Mark(3, 3)
    assert found.values[("b", "c", 1)] == Mark(3, 10)
    assert document.dotted(("b", "c", 1)) == "b.c[1]"


def test_duplicate_keys_are_told_with_both_places() -> None:
    found = read("a: 1\nb: 2\na:\n  x: [1, {y: 2}]\nc: 3\n")
    assert found.value == {"a": 1, "b": 2, "c": 3}
    assert [str(problem) for problem in found.problems] == ["3:1: a: given twice, first on line 1"]


def test_duplicate_keys_in_json() -> None:
    found = read('{"a": 1, "a": 2}', "a.json")
    assert [problem.path for problem in found.problems] == ["a"]


def test_keys_that_are_no_text() -> None:
    found = read("? [a, b]\n: 1\nc: 2\n")
    assert found.value == {"c": 2}
    assert "a key that is no text" in str(found.problems[0])


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [ls]", "!!binary aGk=", "!x 1"])
def test_tags_are_refused_and_build_nothing(tag: str) -> None:
    (problem,) = read(f"a: {tag}\n").problems
    assert "without a tag" in problem.message
    assert (problem.line, problem.column) == (1, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\n", "1:4: anchor &x; write the value out"),
        ("a: *x\n", "1:4: alias *x; write the value out"),
        ("a: 1\n---\nb: 2\n", "a second document starts"),
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("# nothing\n", "only comments"),
        ("a: [1\n", "not YAML"),
        ("a: 1\n\tb: 2\n", "not YAML"),
        ("a: \x07\n", "not YAML"),
        (b"a: \xff\n", "1:4: byte 0xff is not UTF-8"),
        (b"a: 1\nbc: \xc3(\n", "2:5: byte 0xc3 is not UTF-8"),
        ("[" * 60, "nested deeper than 12 levels"),
        ("a: " + "x" * 65536, "a manifest has at most 65536"),
        ("{" * 30000, "nested deeper than 12 levels"),
    ],
)
def test_yaml_that_is_refused(text: str | bytes, said: str) -> None:
    assert said in message(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\n", "1:1: not JSON"),
        ('{"a": 1,}', "not JSON"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ("[" * 60000, "nested deeper"),
        ("9" * 60000, "not JSON"),
        ('{"a": 1} {"b": 2}', "not JSON: Extra data"),
    ],
)
def test_json_that_is_refused(text: str, said: str) -> None:
    assert said in message(text, "a.json")


def test_a_billion_laughs_stay_silent() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    assert "anchor &a" in message(bomb)


def test_a_byte_order_mark_is_no_content() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n").value == {"a": 1}


def test_surrogate_pairs_of_json_are_one_character() -> None:
    assert read('{"a": "\\ud83d\\ude00"}', "a.json").value == {"a": "\U0001f600"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except ManifestError:
        return
