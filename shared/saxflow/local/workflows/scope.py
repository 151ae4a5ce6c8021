"""Variables of a running routine: nested scopes, shared ones in parallel steps, memory counted.

Values are never changed in place: an assignment into a list or map builds new ones along its path,
so two variables never alias, and a branch that reads while another writes sees a whole value.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from saxflow.local.workflows.evaluator import MISSING, list_position
from saxflow.local.workflows.failures import Value, key_error, resource_limit, type_error
from saxflow.local.workflows.values import checked_key, size_of, type_name

MEMORY_LIMIT_BYTES = 512 * 1024


class Memory:
    """What all variables of one Execution take together.

    Args:
        limit_bytes: more than this is a ResourceLimitError.
    """

    def __init__(self, limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._used = 0
        self.lock = threading.RLock()

    def grow(self, delta: int) -> None:
        """Count a change.

        Raises:
            WorkflowFailure: ResourceLimitError; the change is not counted then.
        """
        with self.lock:
            if delta > 0 and self._used + delta > self._limit:
                raise resource_limit(
                    f"variables take {self._used + delta} bytes; at most {self._limit} allowed"
                )
            self._used += delta


class Scope:
    """Variables of one block; what it does not hold is looked up in, and written to, its parent.

    Args:
        shared: for a branch of a parallel step, the only names of the parent it writes to; any
            other assignment stays in the branch. None for every other block.
    """

    __slots__ = ("_memory", "_parent", "_shared", "_sizes", "_values")

    def __init__(
        self,
        memory: Memory,
        parent: Scope | None = None,
        shared: frozenset[str] | None = None,
    ) -> None:
        self._memory = memory
        self._parent = parent
        self._shared = shared
        self._values: dict[str, Value] = {}
        self._sizes: dict[str, int] = {}

    def child(self, shared: Sequence[str] | None = None) -> Scope:
        """Return a scope inside this one; with `shared`, that of a parallel branch."""
        return Scope(self._memory, self, None if shared is None else frozenset(shared))

    def get(self, name: str) -> Value:
        """Return a variable's value, `MISSING` when it has none."""
        scope: Scope | None = self
        while scope is not None:
            value = scope._values.get(name, MISSING)
            if value is not MISSING:
                return value
            scope = scope._parent
        return MISSING

    def declare(self, name: str, value: Value) -> None:
        """Set a variable of this very block, hiding one of the same name further out."""
        size = size_of(value)
        with self._memory.lock:
            self._memory.grow(size - self._sizes.get(name, 0))
            self._values[name] = value
            self._sizes[name] = size

    def assign(self, name: str, value: Value) -> None:
        """Set a variable where it lives, or here when it is new.

        Raises:
            WorkflowFailure: ResourceLimitError.
        """
        self._owner(name).declare(name, value)

    def assign_path(self, name: str, path: Sequence[Value], value: Value) -> None:
        """Set a part of a variable; maps missing on the way are made.

        Raises:
            WorkflowFailure: KeyError, TypeError, IndexError or ResourceLimitError.
        """
        with self._memory.lock:
            current = self.get(name)
            if current is MISSING:
                raise key_error(f"variable not found: {name}")
            self.assign(name, _replaced(current, path, value))

    def close(self) -> None:
        """Give back the memory of a block that has ended."""
        if self._sizes:
            self._memory.grow(-sum(self._sizes.values()))
            self._sizes.clear()

    def _owner(self, name: str) -> Scope:
        scope = self
        while name not in scope._values:
            parent = scope._parent
            if parent is None or parent.get(name) is MISSING:
                return self
            if scope._shared is not None and name not in scope._shared:
                return scope
            scope = parent
        return scope


def _replaced(container: Value, path: Sequence[Value], value: Value) -> Value:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(container, list):
        position = list_position(container, key)
        changed = list(container)
        changed[position] = _replaced(container[position], rest, value)
        return changed
    if isinstance(container, dict):
        name = checked_key(key)
        return {**container, name: _replaced(container.get(name, {}), rest, value)}
    raise type_error(f"cannot assign into {type_name(container)}; a list or map is needed")
