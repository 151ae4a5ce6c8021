from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.workflows.expressions import (
    Binary,
    Call,
    Index,
    Literal,
    Name,
    Property,
    Unary,
    dotted,
    parse_expression,
    walk,
)
from saxflow.local.workflows.lexer import ExpressionError


def test_multiplication_binds_tighter_than_addition() -> None:
    assert parse_expression("1 + 2 * 3") == Binary(
        "+", Literal(1), Binary("*", Literal(2), Literal(3))
    )


def test_operators_of_one_level_group_to_the_left() -> None:
    assert parse_expression("9 - 3 - 1") == Binary(
        "-", Binary("-", Literal(9), Literal(3)), Literal(1)
    )


def test_not_binds_tighter_than_comparison_as_documented() -> None:
    assert parse_expression("not a == b") == Binary("==", Unary("not", Name("a")), Name("b"))


def test_and_binds_tighter_than_or() -> None:
    tree = parse_expression("a or b and c")
    assert tree == Binary("or", Name("a"), Binary("and", Name("b"), Name("c")))


def test_not_in_is_one_operator() -> None:
    assert parse_expression("a not in b") == Binary("not in", Name("a"), Name("b"))


def test_access_chains() -> None:
    tree = parse_expression('r.body["a b"][0]')
    assert tree == Index(Index(Property(Name("r"), "body"), Literal("a b")), Literal(0))


def test_calls_take_dotted_names() -> None:
    assert parse_expression("map.get(m, 1)") == Call("map.get", (Name("m"), Literal(1)))


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_spellings_of_true(word: str) -> None:
    assert parse_expression(word) == Literal(True)


@pytest.mark.parametrize("text", ["a AND b", "a and b"])
def test_logical_words_may_be_in_upper_case(text: str) -> None:
    assert parse_expression(text) == Binary("and", Name("a"), Name("b"))


def test_words_may_be_property_names() -> None:
    assert parse_expression("e.in") == Property(Name("e"), "in")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\"b\\\n\u00e9"', 'a"b\\\né'),
        ('"line\nbreak"', "line\nbreak"),
        ("0.5", 0.5),
        ("3.14e2", 314.0),
        ("12", 12),
    ],
)
def test_literals(text: str, value: object) -> None:
    assert parse_expression(text) == Literal(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "a value was expected"),
        ("1 +", "found the end"),
        ("(1", "')' was expected"),
        ("'a'", "double quotes"),
        ('"a', "not closed"),
        ("a b", "found 'b'"),
        ("f(1)(2)", "only a named function"),
        ("a ? b", "unexpected '? b'"),
        (r'"\q"', "escape"),
        ("a.1", "found"),
    ],
)
def test_what_does_not_parse_says_where(text: str, part: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert part in str(caught.value)


def test_length_limit() -> None:
    assert isinstance(parse_expression("1 +" * 99 + "100"), Binary)
    with pytest.raises(ExpressionError, match="401 characters"):
        parse_expression("1" * 401)


def test_nesting_as_deep_as_the_limit_allows() -> None:
    assert parse_expression("(" * 60 + "1" + ")" * 60) == Literal(1)


def test_dotted_and_walk() -> None:
    tree = parse_expression("a.b.c + f(x)[y]")
    assert dotted(parse_expression("a.b.c")) == "a.b.c"
    assert dotted(tree) is None
    assert [part.name for part in walk(tree) if isinstance(part, Name)] == ["a", "x", "y"]


@given(st.text(max_size=60))
def test_any_text_parses_or_is_an_expression_error(text: str) -> None:
    try:
        parse_expression(text)
    except ExpressionError:
        return
