"""What an exit code means: retry the Task or fail it.

Source: google/cloud/batch/v1/task.proto, LifecyclePolicy;
https://cloud.google.com/batch/docs/troubleshooting#reserved-exit-codes
"""

from __future__ import annotations

from google.cloud.batch_v1 import LifecyclePolicy, TaskSpec

PREEMPTED = 50001
OUT_OF_TIME = 50005

REASONS = {
    PREEMPTED: "due to Spot VM preemption with exit code 50001",
    OUT_OF_TIME: "due to task running exceeding maxRunDuration or a runnable's timeout"
    " with exit code 50005",
}
"""Reserved exit code -> how Batch words it in a status event."""


def reason(exit_code: int) -> str:
    """Return the words of a status event for an exit code."""
    return REASONS.get(exit_code, f"with exit code {exit_code}")


def retries(spec: TaskSpec, exit_code: int, attempts: int) -> bool:
    """Say whether a Task that has failed is tried again.

    RETRY_TASK repeats the listed codes and fails every other at once; FAIL_TASK the other way
    round; without a policy every failure is repeated. All repetitions share `max_retry_count`.

    Args:
        attempts: how often it has run so far.
    """
    if attempts > spec.max_retry_count:
        return False
    if not spec.lifecycle_policies:
        return True
    policy = spec.lifecycle_policies[0]
    listed = exit_code in policy.action_condition.exit_codes
    return listed if policy.action == LifecyclePolicy.Action.RETRY_TASK else not listed
