from __future__ import annotations

import pytest

from saxflow.local.workflows.evaluator import MISSING
from saxflow.local.workflows.failures import WorkflowFailure
from saxflow.local.workflows.scope import Memory, Scope


def test_new_names_stay_inside_and_old_ones_are_changed_outside() -> None:
    outer = Scope(Memory())
    outer.assign("a", 1)
    inner = outer.child()
    inner.assign("a", 2)
    inner.assign("b", 3)
    assert (outer.get("a"), outer.get("b"), inner.get("b")) == (2, MISSING, 3)


def test_declared_names_hide_outer_ones() -> None:
    outer = Scope(Memory())
    outer.assign("v", 1)
    inner = outer.child()
    inner.declare("v", 2)
    assert (outer.get("v"), inner.get("v")) == (1, 2)


def test_a_branch_writes_out_only_what_it_shares_from_any_depth() -> None:
    outer = Scope(Memory())
    outer.assign("a", 1)
    outer.assign("b", 1)
    branch = outer.child(["a"])
    loop = branch.child()
    loop.assign("a", 2)
    loop.assign("b", 2)
    assert (outer.get("a"), outer.get("b"), branch.get("b")) == (2, 1, 2)


def test_memory_is_counted_by_what_is_held() -> None:
    memory = Memory(100)
    scope = Scope(memory)
    scope.assign("a", "x" * 60)
    scope.assign("a", "y" * 60)
    inner = scope.child()
    inner.assign("b", "z" * 40)
    with pytest.raises(WorkflowFailure, match="at most 100 allowed"):
        scope.assign("c", "z")
    inner.close()
    scope.assign("c", "z")
    scope.assign("a", None)
    assert scope.get("a") is None


def test_paths_copy_what_they_change() -> None:
    scope = Scope(Memory())
    scope.assign("a", {"l": [1, {"k": 1}]})
    scope.assign("b", scope.get("a"))
    scope.assign_path("a", ["l", 1, "k"], 2)
    assert scope.get("a") == {"l": [1, {"k": 2}]}
    assert scope.get("b") == {"l": [1, {"k": 1}]}
