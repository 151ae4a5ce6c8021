"""What tests arm over HTTP is checked on arrival, not when a call or a resource first meets it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from saxflow.errors import InputError

Check = Callable[[Any], bool]


def check_fields(what: str, armed: object, sensible: Mapping[str, Check]) -> None:
    """Look at every attribute that the table names.

    Args:
        what: begins the message.
        sensible: by attribute, whether a value can be worked with.

    Raises:
        InputError: one cannot.
    """
    for name, holds in sensible.items():
        given = getattr(armed, name)
        if not holds(given):
            raise InputError(f"{what}: {name} {given!r} makes no sense")


def is_text(value: Any) -> bool:
    """Say whether it is text."""
    return isinstance(value, str)


def is_count(value: Any) -> bool:
    """Say whether it is a number of times, at least one."""
    return type(value) is int and value >= 1


def is_count_or_none(value: Any) -> bool:
    """Say whether it is a number of times, or None for no end."""
    return value is None or is_count(value)


def is_amount(value: Any) -> bool:
    """Say whether it is a number from zero up, no longer in seconds than anybody can wait."""
    return type(value) in (int, float) and 0 <= value <= threading.TIMEOUT_MAX
