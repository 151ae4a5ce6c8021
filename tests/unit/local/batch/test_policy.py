"""What an exit code means."""

from __future__ import annotations

import pytest
from google.cloud.batch_v1 import TaskSpec

from saxflow.local.batch.policy import OUT_OF_TIME, PREEMPTED, reason, retries


def spec(action=None, codes=(), most=2):
    policies = [{"action": action, "action_condition": {"exit_codes": codes}}] if action else []
    return TaskSpec(max_retry_count=most, lifecycle_policies=policies)


@pytest.mark.parametrize(
    ("action", "codes", "exit_code", "expected"),
    [
        (None, (), 3, True),
        ("RETRY_TASK", (6, 50001), 6, True),
        ("RETRY_TASK", (6, 50001), 50001, True),
        ("RETRY_TASK", (6, 50001), 3, False),
        ("FAIL_TASK", (3,), 3, False),
        ("FAIL_TASK", (3,), 6, True),
    ],
)
def test_policies_by_exit_code(action, codes, exit_code, expected):
    assert retries(spec(action, codes), exit_code, attempts=1) is expected


def test_three_retries_are_four_attempts():
    found = [retries(spec(most=3), 1, attempts) for attempts in (1, 2, 3, 4)]
    assert found == [True, True, True, False]


def test_reserved_codes_are_worded():
    assert "Spot VM preemption" in reason(PREEMPTED)
    assert "maxRunDuration" in reason(OUT_OF_TIME)
    assert reason(3) == "with exit code 3"
