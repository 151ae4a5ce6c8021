from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.workflows.document import SourceError, read_source, resolve_scalar


def test_positions_are_known() -> None:
    root = read_source("main:\n  steps:\n    - a:\n        return: 1\n")
    step = root.value["main"].value["steps"].value[0]
    assert (step.keys["a"].line, step.keys["a"].column) == (3, 7)
    assert root.value["main"].value["steps"].value[0].value["a"].value["return"].value == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        ("12:30", "12:30"),
        ("99999999999999999999", 1e20),
        ("0xFFFFFFFFFFFFFFFF", 2.0**64),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    resolved = resolve_scalar(text)
    assert resolved == value
    assert type(resolved) is type(value)


def test_quoted_scalars_are_strings_and_keys_are_always_text() -> None:
    root = read_source("on: '12'\n1: \"true\"\n")
    assert {key: node.value for key, node in root.value.items()} == {"on": "12", "1": "true"}


def test_json_is_read_too_even_where_yaml_cannot() -> None:
    source = '{"main":\t{"steps": [{"a": {"return": "\\ud83d\\ude00"}}]}}'
    root = read_source(source)
    assert root.value["main"].value["steps"].value[0].value["a"].value["return"].value == "😀"


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("a: [", "2:1: not YAML"),
        ("a: 1\na: 2\n", "2:1: a: the key occurs twice"),
        ('{"a":\t1, "a": 2}', "occurs twice"),
        ("? [a]\n: 1\n", "keys must be plain text"),
        ("[" * 200 + "]" * 200, "too deeply"),
        ("x: " + "y" * 131072, "at most 131072"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("a: *nowhere\n", "not YAML"),
        ("a: &a [*a]\n", "too deeply"),
        (BOMB, "too large"),
    ],
)
def test_what_cannot_be_read_says_why(source: str, part: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_source(source)
    assert part in str(caught.value)


@given(st.text(max_size=80))
def test_any_text_is_read_or_is_a_source_error(text: str) -> None:
    try:
        read_source(text)
    except SourceError:
        return


@given(st.recursive(st.integers(-5, 5) | st.booleans(), lambda x: st.lists(x, min_size=1)))
def test_json_and_yaml_agree(value: object) -> None:
    def plain(node: object) -> object:
        content = node.value  # type: ignore[attr-defined]
        return [plain(item) for item in content] if isinstance(content, list) else content

    assert plain(read_source(json.dumps(value))) == value
