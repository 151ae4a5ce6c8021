"""Evaluate expressions and templates against the variables of a running routine.

Nothing is converted silently: `"a" + 1` is a TypeError, a missing key a KeyError, and so on, all of
them values that the workflow can catch.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Protocol

from saxflow.local.workflows.expressions import (
    Binary,
    Call,
    Expression,
    Index,
    ListLiteral,
    Literal,
    MapLiteral,
    Name,
    Property,
    Unary,
    dotted,
)
from saxflow.local.workflows.failures import (
    Value,
    index_error,
    key_error,
    type_error,
    zero_division,
)
from saxflow.local.workflows.values import checked_int, checked_key, equal, is_number, type_name

MISSING = object()
"""What `Context.variable` answers for a name that has no value."""


class Context(Protocol):
    """What an expression can reach."""

    def variable(self, name: str) -> Value:
        """Return a variable's value, `MISSING` when there is none."""
        ...

    def constant(self, name: str) -> Value:
        """Return the standard library's value or function of a dotted name, or `MISSING`."""
        ...

    def call(self, function: str, arguments: Sequence[Value]) -> Value:
        """Call a function or subworkflow with positional arguments."""
        ...


def evaluate(tree: Expression, context: Context) -> Value:
    """Return the value of an expression.

    Raises:
        WorkflowFailure: TypeError, KeyError, IndexError, ... as the language defines.
    """
    return _EVALUATORS[type(tree)](tree, context)


def read_property(target: Value, name: str) -> Value:
    """Return `target.name`.

    Raises:
        WorkflowFailure: TypeError, not a map; KeyError, no such key.
    """
    if not isinstance(target, dict):
        raise type_error(f"cannot read property {name!r} of {type_name(target)}; a map is needed")
    value = target.get(name, MISSING)
    if value is MISSING:
        raise key_error(f"key not found: {name}")
    return value


def read_index(target: Value, index: Value) -> Value:
    """Return `target[index]`.

    Raises:
        WorkflowFailure: TypeError, KeyError or IndexError.
    """
    if isinstance(target, list):
        return target[list_position(target, index)]
    if isinstance(target, dict):
        return read_property(target, checked_key(index))
    raise type_error(f"cannot index {type_name(target)}; a list or map is needed")


def list_position(items: list[Value], index: Value) -> int:
    """Return a legal position in a list.

    Raises:
        WorkflowFailure: TypeError, not an integer; IndexError, outside the list.
    """
    if type(index) is not int:
        raise type_error(f"list index must be an integer, not {type_name(index)}")
    if not 0 <= index < len(items):
        raise index_error(f"index out of range: {index} in a list of {len(items)}")
    return index


def _literal(tree: Literal, _: Context) -> Value:
    return tree.value


def _name(tree: Name, context: Context) -> Value:
    value = context.variable(tree.name)
    if value is not MISSING:
        return value
    value = context.constant(tree.name)
    if value is MISSING:
        raise key_error(f"variable not found: {tree.name}")
    return value


def _property(tree: Property, context: Context) -> Value:
    path = dotted(tree)
    if path is not None and context.variable(path.partition(".")[0]) is MISSING:
        value = context.constant(path)
        if value is not MISSING:
            return value
    return read_property(evaluate(tree.target, context), tree.name)


def _index(tree: Index, context: Context) -> Value:
    return read_index(evaluate(tree.target, context), evaluate(tree.index, context))


def _call(tree: Call, context: Context) -> Value:
    return context.call(tree.function, [evaluate(item, context) for item in tree.arguments])


def _list(tree: ListLiteral, context: Context) -> Value:
    return [evaluate(item, context) for item in tree.items]


def _map(tree: MapLiteral, context: Context) -> Value:
    result: dict[str, Value] = {}
    for key_tree, value_tree in tree.entries:
        key = checked_key(evaluate(key_tree, context))
        result[key] = evaluate(value_tree, context)
    return result


def _unary(tree: Unary, context: Context) -> Value:
    value = evaluate(tree.operand, context)
    if tree.operator == "not":
        return not _boolean(value, "not")
    if not is_number(value):
        raise type_error(f"cannot negate {type_name(value)}")
    return checked_int(-value) if isinstance(value, int) else -value


def _boolean(value: Value, word: str) -> bool:
    if not isinstance(value, bool):
        raise type_error(f"'{word}' needs a boolean, not {type_name(value)}")
    return value


def _binary(tree: Binary, context: Context) -> Value:
    left = evaluate(tree.left, context)
    if tree.operator == "and":
        return _boolean(left, "and") and _boolean(evaluate(tree.right, context), "and")
    if tree.operator == "or":
        return _boolean(left, "or") or _boolean(evaluate(tree.right, context), "or")
    return _OPERATORS[tree.operator](left, evaluate(tree.right, context))


def _numbers(symbol: str, left: Value, right: Value) -> None:
    if not (is_number(left) and is_number(right)):
        raise type_error(
            f"unsupported operands for '{symbol}': {type_name(left)} and {type_name(right)}"
        )


def _finite(symbol: str, compute: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def apply(left: Value, right: Value) -> Value:
        _numbers(symbol, left, right)
        value = compute(left, right)
        return checked_int(value) if isinstance(value, int) else value

    return apply


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return _SUM(left, right)


def _divide(symbol: str, compute: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    def apply(left: Value, right: Value) -> Value:
        _numbers(symbol, left, right)
        if right == 0:
            raise zero_division(f"division by zero: {left} {symbol} {right}")
        value = compute(left, right)
        return checked_int(value) if isinstance(value, int) else value

    return apply


def _compare(symbol: str, compute: Callable[[Value, Value], bool]) -> Callable[..., Value]:
    def apply(left: Value, right: Value) -> Value:
        if not (isinstance(left, str) and isinstance(right, str)):
            _numbers(symbol, left, right)
        return compute(left, right)

    return apply


def _floor_divide(left: Value, right: Value) -> Value:
    quotient = left // right
    return int(quotient) if math.isfinite(quotient) else quotient


def _contains(item: Value, container: Value) -> bool:
    if isinstance(container, list):
        return any(equal(item, member) for member in container)
    if isinstance(container, dict):
        return isinstance(item, str) and item in container
    raise type_error(f"'in' needs a list or map on its right, not {type_name(container)}")


_SUM = _finite("+", operator.add)
_OPERATORS: dict[str, Callable[[Value, Value], Value]] = {
    "+": _add,
    "-": _finite("-", operator.sub),
    "*": _finite("*", operator.mul),
    "/": _divide("/", operator.truediv),
    "//": _divide("//", _floor_divide),
    "%": _divide("%", operator.mod),
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _compare("<", operator.lt),
    "<=": _compare("<=", operator.le),
    ">": _compare(">", operator.gt),
    ">=": _compare(">=", operator.ge),
    "in": _contains,
    "not in": lambda left, right: not _contains(left, right),
}
_EVALUATORS: dict[type, Callable[..., Value]] = {
    Literal: _literal,
    Name: _name,
    Property: _property,
    Index: _index,
    Call: _call,
    Unary: _unary,
    Binary: _binary,
    ListLiteral: _list,
    MapLiteral: _map,
}
