"""The states of Jobs and Tasks, and which may follow which.

Source: google/cloud/batch/v1/job.proto, task.proto; https://cloud.google.com/batch/docs/view-jobs-tasks
"""

from __future__ import annotations

from google.cloud.batch_v1 import JobStatus, TaskStatus

JobState = JobStatus.State
TaskState = TaskStatus.State

JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset(
        {
            JobState.SCHEDULED,
            JobState.FAILED,
            JobState.CANCELLATION_IN_PROGRESS,
            JobState.DELETION_IN_PROGRESS,
        }
    ),
    JobState.SCHEDULED: frozenset(
        {
            JobState.RUNNING,
            JobState.FAILED,
            JobState.CANCELLATION_IN_PROGRESS,
            JobState.DELETION_IN_PROGRESS,
        }
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLATION_IN_PROGRESS,
            JobState.DELETION_IN_PROGRESS,
        }
    ),
    JobState.CANCELLATION_IN_PROGRESS: frozenset(
        {JobState.CANCELLED, JobState.DELETION_IN_PROGRESS}
    ),
    JobState.SUCCEEDED: frozenset({JobState.DELETION_IN_PROGRESS}),
    JobState.FAILED: frozenset({JobState.DELETION_IN_PROGRESS}),
    JobState.CANCELLED: frozenset({JobState.DELETION_IN_PROGRESS}),
    JobState.DELETION_IN_PROGRESS: frozenset(),
}

TASK_TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset({TaskState.ASSIGNED, TaskState.UNEXECUTED}),
    TaskState.ASSIGNED: frozenset({TaskState.RUNNING, TaskState.FAILED, TaskState.PENDING}),
    TaskState.RUNNING: frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.PENDING}),
    TaskState.SUCCEEDED: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.UNEXECUTED: frozenset(),
}

ENDED_JOB = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
