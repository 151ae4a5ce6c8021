"""Expression helpers (`len`, `default`, `int`, ...) and `math.*`.

Source: https://cloud.google.com/workflows/docs/reference/stdlib/expression-helpers
"""

from __future__ import annotations

import math

from saxflow.local.workflows.failures import Value, type_error, value_error
from saxflow.local.workflows.stdlib.signature import Function, expect, expect_number, pure
from saxflow.local.workflows.values import checked_int, is_number, text_of, type_name


def _default(val: Value, default_val: Value) -> Value:
    return default_val if val is None else val


def _if(condition: Value, if_true: Value, if_false: Value) -> Value:
    if condition is None:
        return if_false
    return if_true if expect(condition, bool, "condition") else if_false


def _int(value: Value) -> int:
    if isinstance(value, str):
        return _parsed(value, int, "an integer")
    if not is_number(value):
        raise type_error(f"cannot convert {type_name(value)} to integer")
    if not math.isfinite(value):
        raise value_error(f"cannot convert {value} to integer")
    return checked_int(int(value))


def _double(value: Value) -> float:
    if isinstance(value, str):
        return _parsed(value, float, "a number")
    if not is_number(value):
        raise type_error(f"cannot convert {type_name(value)} to double")
    return float(value)


def _parsed(text: str, convert: type, what: str) -> Value:
    try:
        value = convert(text.strip() if text.isascii() and "_" not in text else "")
    except ValueError:
        raise value_error(f"cannot convert string {text[:40]!r} to {what}") from None
    return checked_int(value) if isinstance(value, int) else value


def _keys(value: Value) -> list[Value]:
    return list(expect(value, dict, "the argument of keys()"))


def _len(value: Value) -> int:
    if isinstance(value, str | list | dict | bytes):
        return len(value)
    raise type_error(f"len() needs a string, list or map, not {type_name(value)}")


def _abs(value: Value) -> int | float:
    number = abs(expect_number(value, "x"))
    return checked_int(number) if isinstance(number, int) else number


def _floor(value: Value) -> int:
    number = expect_number(value, "value")
    if not math.isfinite(number):
        raise value_error(f"math.floor of {number}")
    return checked_int(math.floor(number))


def _extreme(name: str, left: Value, right: Value) -> Value:
    pair = (expect_number(left, "x"), expect_number(right, "y"))
    return max(pair) if name == "max" else min(pair)


FUNCTIONS: dict[str, Function] = {
    "default": pure("val defaultVal", _default),
    "double": pure("value", _double),
    "get_type": pure("value", type_name),
    "if": pure("condition ifTrue ifFalse", _if),
    "int": pure("value", _int),
    "keys": pure("map", _keys),
    "len": pure("value", _len),
    "string": pure("value", text_of),
    "math.abs": pure("x", _abs),
    "math.floor": pure("x", _floor),
    "math.max": pure("x y", lambda x, y: _extreme("max", x, y)),
    "math.min": pure("x y", lambda x, y: _extreme("min", x, y)),
}
