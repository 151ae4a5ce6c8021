"""Heads in the control bucket: read, and change by compare and swap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from saxflow import head as heads
from saxflow import names
from saxflow.errors import BusyError, NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.head import Head, Refusal
from saxflow.pipeline.services import Services

CONTENTION_LIMIT = 50
"""Lost races after which something is wrong with the object rather than busy."""


def head_uri(services: Services, name: str) -> Uri:
    """Return the place of a deployment's head."""
    return Uri(services.settings.control_bucket, names.head_object(name))


def read_head(services: Services, name: str) -> tuple[Head, str] | None:
    """Return a head and its object generation, None when the deployment never was."""
    try:
        value, generation = services.objects.read_json(head_uri(services, name))
    except NotFoundError:
        return None
    return heads.from_json(value), generation


def change_head(
    services: Services, name: str, transition: Callable[[Head], Head | Refusal]
) -> Head | Refusal:
    """Apply a pure transition to the stored head, however many writers race.

    Args:
        transition: takes the current head (a new one when none is stored) and returns the next, or
            why it does not apply; it may be called several times.

    Raises:
        BusyError: the race was lost too often.
    """
    for _ in range(CONTENTION_LIMIT):
        current, generation = read_head(services, name) or (Head(name), "0")
        result = transition(current)
        if isinstance(result, Refusal):
            return result
        uri = head_uri(services, name)
        if services.objects.write(uri, result.encode(), if_generation=generation):
            return result
    raise BusyError(f"the head of {name} changed {CONTENTION_LIMIT} times while it was written")


def head_names(services: Services) -> Iterator[str]:
    """Yield the name of every deployment that has a head, in name order."""
    prefix = Uri(services.settings.control_bucket, "deployments/")
    for stored in services.objects.list(prefix):
        parts = stored.uri.name.split("/")
        if len(parts) == 3 and parts[2] == "head.json":
            yield parts[1]


def all_heads(services: Services) -> Iterator[Head]:
    """Yield the head of every deployment that ever was, in name order."""
    for name in head_names(services):
        found = read_head(services, name)
        if found:
            yield found[0]
