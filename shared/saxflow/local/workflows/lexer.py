"""Tokens of the expression language, the part of a workflow between `${` and `}`.

Source: https://cloud.google.com/workflows/docs/reference/syntax/expressions
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from saxflow.local.workflows.values import INT_MIN

Kind = Literal["number", "string", "name", "operator", "end"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>//|<=|>=|==|!=|[-+*/%<>().,:\[\]{}])
    | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_CONSTANTS = frozenset({"true", "false", "null"})
_WORDS = _CONSTANTS | {"and", "or", "not", "in"}


class ExpressionError(Exception):
    """An expression that does not parse; the message quotes it."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Args:
        text: as written; for words that may be in upper case (`AND`), in lower case.
        value: of a number or string.
    """

    kind: Kind
    text: str
    value: int | float | str | None = None


def tokenize(source: str) -> list[Token]:
    """Split an expression into tokens, the last of which is `end`.

    Raises:
        ExpressionError: a character or literal that the language does not know.
    """
    tokens: list[Token] = []
    position = 0
    while True:
        match = _TOKEN.match(source, position)
        if match is None:
            raise ExpressionError(_unknown(source, position))
        token = _token(match)
        tokens.append(token)
        if token.kind == "end":
            return tokens
        position = match.end()


def _unknown(source: str, position: int) -> str:
    rest = source[position:].lstrip()
    if rest.startswith("'"):
        return f"in {source!r}: strings are written in double quotes, found {rest[:20]!r}"
    if rest.startswith('"'):
        return f"in {source!r}: the string {rest[:20]!r} is not closed"
    return f"in {source!r}: unexpected {rest[:20]!r}"


def _token(match: re.Match[str]) -> Token:
    kind = match.lastgroup
    text = match.group(kind or 0)
    if kind == "number":
        return Token("number", text, _number(text))
    if kind == "string":
        return Token("string", text, _unescape(text))
    if kind == "name":
        lowered = text.lower()
        spellings = (lowered, text.upper(), text.capitalize() if lowered in _CONSTANTS else "")
        known = lowered in _WORDS and text in spellings
        return Token("operator" if known else "name", lowered if known else text)
    return Token("end" if kind == "end" else "operator", text)


def _number(text: str) -> int | float:
    """Return a number; an integer that not even a minus makes fit 64 bits is a double."""
    return int(text) if text.isdigit() and int(text) <= -INT_MIN else float(text)


def _unescape(text: str) -> str:
    raw = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    try:
        value = json.loads(raw)
        value.encode()
    except ValueError as error:
        raise ExpressionError(f"string {text} has an escape that is not known: {error}") from None
    return value
