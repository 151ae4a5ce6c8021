"""`list.*` and `map.*`: every function returns a new value, none changes its argument.

Source: https://cloud.google.com/workflows/docs/reference/stdlib/list,
https://cloud.google.com/workflows/docs/reference/stdlib/map
"""

from __future__ import annotations

from saxflow.local.workflows.failures import Value, resource_limit, type_error
from saxflow.local.workflows.stdlib.signature import Function, expect, pure
from saxflow.local.workflows.values import type_name


def _get(source: Value, keys: Value) -> Value:
    expect(source, dict, "map")
    current = source
    for key in _path(keys):
        if not isinstance(current, dict) or key not in current:
            return None
        current = current[key]
    return current


def _path(keys: Value) -> list[str]:
    if isinstance(keys, str):
        return [keys]
    if isinstance(keys, list):
        return [expect(key, str, "each of keys") for key in keys]
    raise type_error(f"keys must be a string or a list of strings, not {type_name(keys)}")


def _delete(source: Value, key: Value) -> dict[str, Value]:
    name = expect(key, str, "key")
    return {k: v for k, v in expect(source, dict, "map").items() if k != name}


def _merge(first: Value, second: Value) -> dict[str, Value]:
    return {**expect(first, dict, "first"), **expect(second, dict, "second")}


def _merge_nested(first: Value, second: Value) -> dict[str, Value]:
    try:
        return _merged(first, second)
    except RecursionError:
        raise resource_limit("maps are nested too deeply to be merged") from None


def _merged(first: Value, second: Value) -> dict[str, Value]:
    merged: dict[str, Value] = dict(expect(first, dict, "first"))
    for key, value in expect(second, dict, "second").items():
        present = merged.get(key)
        both = isinstance(present, dict) and isinstance(value, dict)
        merged[key] = _merged(present, value) if both else value
    return merged


FUNCTIONS: dict[str, Function] = {
    "list.concat": pure("objs val", lambda objs, val: [*expect(objs, list, "objs"), val]),
    "list.prepend": pure("objs val", lambda objs, val: [val, *expect(objs, list, "objs")]),
    "map.delete": pure("map key", _delete),
    "map.get": pure("map keys", _get),
    "map.merge": pure("first second", _merge),
    "map.merge_nested": pure("first second", _merge_nested),
}
