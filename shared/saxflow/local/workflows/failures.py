"""The errors of the Workflows language: values that a workflow can catch, look into and raise again.

An error is a map with `message` and `tags` (HTTP errors add `code`, `headers`, `body`), or whatever
value a `raise` step was given. The tags are the service's own names.

Source: https://cloud.google.com/workflows/docs/reference/syntax/error-types
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Value = Any
"""A value of the language: None, bool, int, float, str, bytes, list, dict or `FunctionRef`."""


@dataclass(frozen=True)
class Place:
    """Where an error arose: one entry of a stack trace."""

    routine: str
    step: str
    line: int | None = None


@dataclass(eq=False)
class WorkflowFailure(Exception):  # noqa: N818  # what it carries is the workflow's own error
    """An error travelling through a running workflow.

    Args:
        payload: the value that an `except` block receives.
        trace: the steps that the error has left, innermost first; filled in on the way.
    """

    payload: Value
    trace: list[Place] = field(default_factory=list)

    def __str__(self) -> str:
        return describe(self.payload)


class Cancelled(Exception):  # noqa: N818  # not an error of the workflow: nothing may catch it
    """The Execution was cancelled; no `except` block sees this."""


def failure(tag: str, message: str, *more_tags: str, **fields: Value) -> WorkflowFailure:
    """Return an error as the service builds it: a map with message, tags and further fields."""
    return WorkflowFailure({"message": message, "tags": [tag, *more_tags], **fields})


def language_error(tag: str, message: str) -> WorkflowFailure:
    """Return an error of the language itself; its message begins with the tag, as the service's."""
    return failure(tag, f"{tag}: {message}")


def type_error(message: str) -> WorkflowFailure:
    """An operation met a value of a type that it cannot handle."""
    return language_error("TypeError", message)


def value_error(message: str) -> WorkflowFailure:
    """A value of the right type that cannot be used."""
    return language_error("ValueError", message)


def key_error(message: str) -> WorkflowFailure:
    """A map key, variable or environment variable that does not exist."""
    return language_error("KeyError", message)


def index_error(message: str) -> WorkflowFailure:
    """A list position that does not exist."""
    return language_error("IndexError", message)


def zero_division(message: str) -> WorkflowFailure:
    """A division or remainder by zero."""
    return language_error("ZeroDivisionError", message)


def resource_limit(message: str) -> WorkflowFailure:
    """One of the service's limits was exceeded."""
    return language_error("ResourceLimitError", message)


def tags_of(payload: Value) -> Sequence[str]:
    """Return the tags of an error value, none when it carries none."""
    tags = payload.get("tags") if isinstance(payload, dict) else None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def describe(payload: Value) -> str:
    """Return an error value as the first line of an Execution's error context."""
    message = payload.get("message") if isinstance(payload, dict) else None
    if isinstance(message, str):
        return message
    return f"RuntimeError: {json.dumps(payload, ensure_ascii=False, default=repr)}"


def context_of(payload: Value, place: Place | None) -> str:
    """Return an error value together with the step that it arose in."""
    if place is None:
        return describe(payload)
    where = f'in step "{place.step}", routine "{place.routine}", line: {place.line}'
    return f"{describe(payload)}\n{where}"
