"""The errors of the Workflows language: values that a workflow can catch, look into and raise again.

An error is a map with `message` and `tags` (HTTP errors add `code`, `headers`, `body`), or whatever
value a `raise` step was given. The tags are the service's own names.

Source: https://cloud.google.com/workflows/docs/reference/syntax/error-types
"""

from __future__ import annotations

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


def type_error(message: str) -> WorkflowFailure:
    """An operation met a value of a type that it cannot handle."""
    return failure("TypeError", message)


def value_error(message: str) -> WorkflowFailure:
    """A value of the right type that cannot be used."""
    return failure("ValueError", message)


def key_error(message: str) -> WorkflowFailure:
    """A map key, variable or environment variable that does not exist."""
    return failure("KeyError", message)


def index_error(message: str) -> WorkflowFailure:
    """A list position that does not exist."""
    return failure("IndexError", message)


def zero_division(message: str) -> WorkflowFailure:
    """A division or remainder by zero."""
    return failure("ZeroDivisionError", message)


def resource_limit(message: str) -> WorkflowFailure:
    """One of the service's limits was exceeded."""
    return failure("ResourceLimitError", message)


def tags_of(payload: Value) -> Sequence[str]:
    """Return the tags of an error value, none when it carries none."""
    tags = payload.get("tags") if isinstance(payload, dict) else None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def describe(payload: Value) -> str:
    """Return an error value as one line for people."""
    if isinstance(payload, dict):
        tags = tags_of(payload)
        message = str(payload.get("message", payload))
        return f"{tags[0]}: {message}" if tags else message
    return str(payload)
