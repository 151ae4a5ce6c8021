"""Subscription filters: conditions on attributes, joined by AND, OR and NOT.

Source: cloud.google.com/pubsub/docs/subscription-message-filter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from google.api_core import exceptions

Filter = Callable[[Mapping[str, str]], bool]

_LIMIT_BYTES = 256
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<symbol>!=|[=:().,-])
    | (?P<word>[A-Za-z_][A-Za-z0-9_-]*)
    )""",
    re.VERBOSE,
)


def parse_filter(text: str) -> Filter:
    """Compile a filter; an empty one lets everything pass.

    Raises:
        InvalidArgument: it cannot be parsed, mixes AND with OR without parentheses or is too long.
    """
    if not text.strip():
        return lambda _: True
    if len(text.encode()) > _LIMIT_BYTES:
        raise exceptions.InvalidArgument(f"filter is longer than {_LIMIT_BYTES} bytes")
    parser = _Parser(text)
    found = parser.expression()
    parser.expect_end()
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0

    def expression(self) -> Filter:
        terms = [self._term()]
        word = self._peek()
        if word not in ("AND", "OR"):
            return terms[0]
        while self._peek() == word:
            self._at += 1
            terms.append(self._term())
        if self._peek() in ("AND", "OR"):
            raise self._error("AND and OR need parentheses between them")
        if word == "AND":
            return lambda attributes: all(term(attributes) for term in terms)
        return lambda attributes: any(term(attributes) for term in terms)

    def expect_end(self) -> None:
        if self._peek():
            raise self._error(f"unexpected {self._peek()!r}")

    def _term(self) -> Filter:
        if self._peek() in ("NOT", "-"):
            self._at += 1
            inner = self._term()
            return lambda attributes: not inner(attributes)
        if self._peek() == "(":
            self._at += 1
            inner = self.expression()
            self._take(")")
            return inner
        return self._condition()

    def _condition(self) -> Filter:
        if self._peek() == "hasPrefix":
            return self._has_prefix()
        self._take("attributes")
        if self._peek() == ":":
            self._at += 1
            key = self._key()
            return lambda attributes: key in attributes
        self._take(".")
        key, operator = self._key(), self._next()
        if operator not in ("=", "!="):
            raise self._error(f"{operator!r} is not = or !=")
        value = self._string()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _has_prefix(self) -> Filter:
        for token in ("hasPrefix", "(", "attributes", "."):
            self._take(token)
        key = self._key()
        self._take(",")
        prefix = self._string()
        self._take(")")
        return lambda attributes: key in attributes and attributes[key].startswith(prefix)

    def _key(self) -> str:
        token = self._next()
        if token.startswith('"'):
            return self._unquoted(token)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", token):
            raise self._error(f"{token!r} is no attribute key")
        return token

    def _string(self) -> str:
        token = self._next()
        if not token.startswith('"'):
            raise self._error(f"{token!r} must be a string in double quotes")
        return self._unquoted(token)

    def _unquoted(self, token: str) -> str:
        try:
            return json.loads(token)
        except ValueError as error:
            raise self._error(f"{token} is no string: {error}") from error

    def _take(self, wanted: str) -> None:
        if (token := self._next()) != wanted:
            raise self._error(f"expected {wanted!r}, found {token!r}")

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _error(self, message: str) -> exceptions.InvalidArgument:
        return exceptions.InvalidArgument(f"Invalid filter {self._text!r}: {message}")


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None:
            raise exceptions.InvalidArgument(f"Invalid filter {text!r} at {text[position:]!r}")
        tokens.append(match[0].strip())
        position = match.end()
    return tokens
