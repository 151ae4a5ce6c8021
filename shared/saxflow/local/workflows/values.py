"""Values of the Workflows language: their names, equality, size and JSON form.

Python's own rules differ in small ways that matter (`True == 1`, `isinstance(True, int)`), so every
comparison of the language goes through here.

Source: https://cloud.google.com/workflows/docs/reference/syntax/datatypes
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import cast

from saxflow.local.workflows.failures import (
    Value,
    WorkflowFailure,
    describe,
    resource_limit,
    type_error,
    value_error,
)

STRING_LIMIT_BYTES = 256 * 1024
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_SURROGATE = re.compile(r"\\u[dD]|[\ud800-\udfff]")
_NUMBER_BYTES = 8
_ENTRY_BYTES = 2
_LONGEST_INTEGER = 300
"""Digits that Python turns into a finite double; of more it makes an error, or infinity."""


@dataclass(frozen=True)
class FunctionRef:
    """A function named without being called, as in `predicate: ${my_predicate}`."""

    name: str


_TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    FunctionRef: "function",
}


def type_name(value: Value) -> str:
    """Return the language's name of a value's type."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def is_number(value: Value) -> bool:
    """Tell whether a value is an integer or a double; a boolean is neither."""
    return type(value) is int or type(value) is float


def equal(left: Value, right: Value) -> bool:
    """Compare deeply; values of different types differ, except integer and double."""
    if is_number(left) and is_number(right):
        return bool(left == right)
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    return bool(left == right)


def checked_int(value: int) -> int:
    """Return an integer that fits 64 bits.

    Raises:
        WorkflowFailure: ValueError, it does not.
    """
    if INT_MIN <= value <= INT_MAX:
        return value
    raise value_error(f"integer overflow: {value} does not fit 64 bits")


def fitting(number: int) -> int | float:
    """Return a number read from text: an integer where 64 bits can hold it, else a double."""
    return number if INT_MIN <= number <= INT_MAX else float(number)


def checked_key(key: Value) -> str:
    """Return the key of a map.

    Raises:
        WorkflowFailure: TypeError, it is no string.
    """
    if not isinstance(key, str):
        raise type_error(f"map keys are strings, not {type_name(key)}")
    return key


def text_bytes(text: str) -> int:
    """Return the length of a string in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def size_of(value: Value) -> int:
    """Return the bytes a value counts against the memory of an Execution.

    Raises:
        WorkflowFailure: ResourceLimitError, a string is longer than the service allows.
    """
    kind = type(value)
    if kind is str:
        size = text_bytes(cast(str, value))
        if size > STRING_LIMIT_BYTES:
            raise resource_limit(f"string of {size} bytes; at most {STRING_LIMIT_BYTES} allowed")
        return size
    if kind is dict:
        entries = cast(dict[str, Value], value)
        return sum(text_bytes(k) + size_of(v) + _ENTRY_BYTES for k, v in entries.items())
    if kind is list:
        return sum(size_of(item) + _ENTRY_BYTES for item in cast(list[Value], value))
    return len(value) if kind is bytes else _NUMBER_BYTES


def text_of(value: Value) -> str:
    """Return what `string(value)` gives.

    Raises:
        WorkflowFailure: TypeError, the type has no string form.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_number(value):
        return _number_text(value)
    raise type_error(f"cannot convert {type_name(value)} to string; use json.encode_to_string")


def _number_text(value: float) -> str:
    return str(value) if isinstance(value, int) or not math.isfinite(value) else repr(value)


def to_json(value: Value, *, indent: int | None = None) -> str:
    """Return a value as JSON text.

    Raises:
        WorkflowFailure: TypeError for bytes and functions, ValueError for NaN and infinities.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    try:
        return json.dumps(
            value,
            default=_refuse,
            ensure_ascii=False,
            allow_nan=False,
            indent=indent,
            separators=separators,
        )
    except RecursionError:
        raise resource_limit("value is nested too deeply to be encoded as JSON") from None
    except ValueError as error:
        raise value_error(f"cannot encode as JSON: {error}") from None


def error_json(payload: Value) -> str:
    """Return an error value as JSON text, or its description where JSON cannot hold it."""
    try:
        return to_json(payload)
    except WorkflowFailure:
        return json.dumps(describe(payload), ensure_ascii=False)


def _refuse(value: Value) -> Value:
    raise type_error(
        f"{type_name(value)} cannot be encoded as JSON; use base64.encode or text.decode"
    )


def from_json(text: str | bytes) -> Value:
    """Return the value that JSON text stands for; integers beyond 64 bits become doubles.

    Raises:
        WorkflowFailure: ValueError, it is not JSON.
    """
    try:
        source = text if isinstance(text, str) else text.decode("utf-8-sig")
        value = json.loads(source, parse_int=_json_int, parse_constant=_no_constant)
        if _SURROGATE.search(source):
            checked_text(json.dumps(value, ensure_ascii=False))
        return value
    except RecursionError:
        raise value_error("JSON is nested too deeply") from None
    except ValueError as error:
        raise value_error(f"not JSON: {error}") from None


def checked_text(text: str) -> str:
    """Return text that UTF-8 can hold.

    Raises:
        WorkflowFailure: ValueError, it has half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise value_error("text with half of a surrogate pair") from None
    return text


def _json_int(text: str) -> int | float:
    return fitting(int(text)) if len(text) <= _LONGEST_INTEGER else float(text)


def _no_constant(text: str) -> Value:
    raise ValueError(f"{text} is not JSON")
