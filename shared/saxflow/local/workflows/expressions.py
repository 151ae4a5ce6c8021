"""Expressions: the syntax tree and its parser.

Precedence, tightest first, as the service documents it: access and calls; `not`; unary minus;
`* / // %`; `+ -`; comparison, equality and `in`; `and`; `or`. `not` therefore binds tighter than a
comparison: `not (a == b)` needs its parentheses.

Source: https://cloud.google.com/workflows/docs/reference/syntax/datatypes#order-operations
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from saxflow.local.workflows.failures import Value
from saxflow.local.workflows.lexer import ExpressionError, Token, tokenize

EXPRESSION_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, string, true, false or null."""

    value: Value


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, or a function named without a call."""

    name: str


@dataclass(frozen=True, slots=True)
class Property:
    """`target.name`."""

    target: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """`target[index]`."""

    target: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`; the function is a dotted name."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """`not operand` or `-operand`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class ListLiteral:
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class MapLiteral:
    """`{"key": value}`."""

    entries: tuple[tuple[Expression, Expression], ...]


Expression = Literal | Name | Property | Index | Call | Unary | Binary | ListLiteral | MapLiteral

_BINDING = {
    "or": 1,
    "and": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in", "not in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "//", "%"), 5),
}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}


@lru_cache(maxsize=4096)
def parse_expression(source: str) -> Expression:
    """Parse what stands between `${` and `}`.

    Raises:
        ExpressionError: it does not parse, or is longer than 400 characters.
    """
    if len(source) > EXPRESSION_LIMIT:
        raise ExpressionError(
            f"expression of {len(source)} characters: {source[:40]!r}...;"
            f" at most {EXPRESSION_LIMIT} are allowed, split it over several assignments"
        )
    parser = _Parser(source)
    try:
        tree = parser.binary(0)
    except RecursionError:
        raise ExpressionError(f"in {source!r}: nested too deeply") from None
    parser.expect_end()
    return tree


def dotted(tree: Expression) -> str | None:
    """Return `a.b.c` for a chain of properties on a name, None for anything else."""
    if isinstance(tree, Name):
        return tree.name
    if isinstance(tree, Property):
        parent = dotted(tree.target)
        return None if parent is None else f"{parent}.{tree.name}"
    return None


def walk(tree: Expression) -> Iterator[Expression]:
    """Yield a tree and everything below it, outermost first."""
    yield tree
    for child in _children(tree):
        yield from walk(child)


def _children(tree: Expression) -> tuple[Expression, ...]:
    match tree:
        case Property(target, _):
            return (target,)
        case Index(target, index):
            return (target, index)
        case Call(_, arguments):
            return arguments
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case ListLiteral(items):
            return items
        case MapLiteral(entries):
            return tuple(part for entry in entries for part in entry)
        case _:
            return ()


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._position = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._position]

    def _take(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _at(self, *operators: str) -> bool:
        return self._token.kind == "operator" and self._token.text in operators

    def _accept(self, operator: str) -> bool:
        if self._at(operator):
            self._position += 1
            return True
        return False

    def _expect(self, operator: str) -> None:
        if not self._accept(operator):
            raise self._unexpected(f"{operator!r} was expected")

    def expect_end(self) -> None:
        if self._token.kind != "end":
            raise self._unexpected("an operator or the end was expected")

    def _unexpected(self, wanted: str) -> ExpressionError:
        found = repr(self._token.text) if self._token.kind != "end" else "the end"
        return ExpressionError(f"in {self._source!r}: found {found} where {wanted}")

    def binary(self, floor: int) -> Expression:
        left = self._unary()
        while (operator := self._operator()) is not None and _BINDING[operator] > floor:
            self._position += 2 if operator == "not in" else 1
            left = Binary(operator, left, self.binary(_BINDING[operator]))
        return left

    def _operator(self) -> str | None:
        if self._token.kind != "operator":
            return None
        if self._token.text == "not":
            following = self._tokens[self._position + 1]
            return "not in" if following.text == "in" else None
        return self._token.text if self._token.text in _BINDING else None

    def _unary(self) -> Expression:
        if self._at("not", "-"):
            operator = self._take().text
            return Unary(operator, self._unary())
        return self._access()

    def _access(self) -> Expression:
        tree = self._primary()
        while self._at(".", "[", "("):
            opening = self._take().text
            if opening == ".":
                tree = Property(tree, self._property_name())
            elif opening == "[":
                tree = Index(tree, self.binary(0))
                self._expect("]")
            else:
                tree = Call(self._function(tree), self._list(")"))
        return tree

    def _property_name(self) -> str:
        if self._token.kind == "name" or self._token.text in _KEYWORDS:
            return self._take().text
        raise self._unexpected("a name was expected after '.'")

    def _function(self, tree: Expression) -> str:
        name = dotted(tree)
        if name is None:
            raise ExpressionError(f"in {self._source!r}: only a named function can be called")
        return name

    def _list(self, closing: str) -> tuple[Expression, ...]:
        items: list[Expression] = []
        while not self._accept(closing):
            if items:
                self._expect(",")
            items.append(self.binary(0))
        return tuple(items)

    def _entries(self) -> tuple[tuple[Expression, Expression], ...]:
        entries: list[tuple[Expression, Expression]] = []
        while not self._accept("}"):
            if entries:
                self._expect(",")
            key = self.binary(0)
            self._expect(":")
            entries.append((key, self.binary(0)))
        return tuple(entries)

    def _primary(self) -> Expression:
        token = self._token
        if token.kind in ("number", "string"):
            return Literal(self._take().value)
        if token.kind == "name":
            return Name(self._take().text)
        if token.kind == "operator" and token.text in _CONSTANTS:
            return Literal(_CONSTANTS[self._take().text])
        if self._accept("("):
            inner = self.binary(0)
            self._expect(")")
            return inner
        if self._accept("["):
            return ListLiteral(self._list("]"))
        if self._accept("{"):
            return MapLiteral(self._entries())
        raise self._unexpected("a value was expected")


_KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})
