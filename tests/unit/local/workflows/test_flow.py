from __future__ import annotations

from saxflow.local.workflows.flow import BREAK, CONTINUE, Jump, Return, jump_to


def test_some_targets_are_no_steps() -> None:
    assert jump_to("end") == Return(None)
    assert jump_to("break") is BREAK
    assert jump_to("continue") is CONTINUE
    assert jump_to("there") == Jump("there")
