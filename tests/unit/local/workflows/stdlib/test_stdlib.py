"""The standard library as a whole; each module of it has tests of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from saxflow.local.workflows.stdlib import (
    CONSTANTS,
    FUNCTIONS,
    collections,
    encoding,
    helpers,
    policies,
    texts,
)

Run = Callable[..., Any]
MODULES = (helpers, texts, collections, encoding, policies)


def test_every_function_has_one_place() -> None:
    assert sum(len(module.FUNCTIONS) for module in MODULES) == len(FUNCTIONS)
    assert CONSTANTS is policies.CONSTANTS
    assert set(CONSTANTS) - set(FUNCTIONS) == {
        "http.default_retry", "http.default_retry_non_idempotent", "retry.default_backoff",
    }  # fmt: skip


def test_functions_can_be_called_as_steps_by_name(run: Run) -> None:
    source = """
    - a: {call: text.split, args: {source: "a,b", separator: ","}, result: parts}
    - out: {return: "${parts}"}
    """
    assert run(source) == ["a", "b"]


def test_what_needs_the_world(evaluate: Run, fails: Run) -> None:
    assert evaluate("sys.now()") == 1000.0
    assert evaluate('sys.get_env("NOWHERE", "x")') == "x"
    assert fails('sys.get_env("NOWHERE")') == "KeyError"
    assert evaluate('time.parse("2026-11-22T12:00:00.123456789Z") > 0') is True
