"""Tables of states."""

from __future__ import annotations

import pytest

from saxflow.local.batch.states import (
    ENDED_JOB,
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobState,
    TaskState,
)


@pytest.mark.parametrize(
    ("table", "states", "ended"),
    [
        (JOB_TRANSITIONS, JobState, ENDED_JOB),
        (
            TASK_TRANSITIONS,
            TaskState,
            {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.UNEXECUTED},
        ),
    ],
)
def test_every_state_is_placed_and_ended_states_run_nowhere(table, states, ended):
    assert set(table) == {s for s in states if s.name != "STATE_UNSPECIFIED"}
    assert all(following <= set(table) for following in table.values())
    running = {s for s in table if s.name in ("RUNNING", "SCHEDULED", "ASSIGNED", "QUEUED")}
    assert not any(table[state] & running for state in ended)
