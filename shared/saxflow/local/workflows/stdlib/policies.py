"""Retry policies: predicates (`retry.always`), whole ones (`http.default_retry`), and their pauses.

Source: https://cloud.google.com/workflows/docs/reference/stdlib/http/default_retry,
https://cloud.google.com/workflows/docs/reference/stdlib/retry
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from saxflow.local.workflows.failures import Value, tags_of, value_error
from saxflow.local.workflows.stdlib.signature import Function, expect_number, pure
from saxflow.local.workflows.values import FunctionRef

DEFAULT_BACKOFF: dict[str, Value] = {"initial_delay": 1, "max_delay": 60, "multiplier": 1.25}
DEFAULT_MAX_RETRIES = 5

_IDEMPOTENT_CODES = (429, 502, 503, 504)
_NON_IDEMPOTENT_CODES = (429, 503)
_CONNECTION_TAGS = frozenset({"ConnectionError", "ConnectionFailedError", "TimeoutError"})


def retry_idempotent(error: Value) -> bool:
    """Tell whether an idempotent HTTP call should be repeated after this error."""
    return _matches(error, _IDEMPOTENT_CODES, _CONNECTION_TAGS)


def retry_non_idempotent(error: Value) -> bool:
    """Tell whether any HTTP call may be repeated: the server cannot have acted on it."""
    return _matches(error, _NON_IDEMPOTENT_CODES, frozenset({"ConnectionFailedError"}))


def _matches(error: Value, codes: tuple[int, ...], wanted: frozenset[str]) -> bool:
    tags = tags_of(error)
    if not wanted.isdisjoint(tags):
        return True
    return "HttpError" in tags and error.get("code") in codes


def delays(backoff: Mapping[str, Value]) -> Iterator[float]:
    """Yield the pauses before one retry after another, in seconds, without end.

    Raises:
        WorkflowFailure: TypeError or ValueError, a part of the backoff cannot be used.
    """
    delay, most, factor = (
        number_of(backoff, name, DEFAULT_BACKOFF[name])
        for name in ("initial_delay", "max_delay", "multiplier")
    )
    while True:
        yield min(delay, most)
        delay *= factor


def number_of(policy: Mapping[str, Value], name: str, default: float) -> float:
    """Return a number of a policy.

    Raises:
        WorkflowFailure: TypeError, it is none; ValueError, it is negative or without bounds.
    """
    number = float(expect_number(policy.get(name, default), name))
    if not 0 <= number < math.inf:
        raise value_error(f"{name} is {number}; a number from 0 up is needed")
    return number


def _policy(predicate: str) -> dict[str, Value]:
    return {
        "predicate": FunctionRef(predicate),
        "max_retries": DEFAULT_MAX_RETRIES,
        "backoff": DEFAULT_BACKOFF,
    }


FUNCTIONS: dict[str, Function] = {
    "http.default_retry_predicate": pure("e", retry_idempotent),
    "http.default_retry_predicate_non_idempotent": pure("e", retry_non_idempotent),
    "retry.always": pure("e", lambda _: True),
    "retry.never": pure("e", lambda _: False),
}
CONSTANTS: dict[str, Value] = {
    "http.default_retry": _policy("http.default_retry_predicate"),
    "http.default_retry_non_idempotent": _policy("http.default_retry_predicate_non_idempotent"),
    "retry.default_backoff": DEFAULT_BACKOFF,
    **{name: FunctionRef(name) for name in FUNCTIONS},
}
