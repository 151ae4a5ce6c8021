"""What Batch refuses before a Job exists.

Source: google/cloud/batch/v1/{batch,job,task}.proto; https://cloud.google.com/batch/quotas
"""

from __future__ import annotations

import re

from google.api_core import exceptions
from google.cloud.batch_v1 import CreateJobRequest, Job, LifecyclePolicy, Runnable, TaskGroup

PARENT = re.compile(r"projects/([^/]+)/locations/([^/]+)")
JOB_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MOST_TASKS = 100_000
MOST_AT_ONCE = 5_000
MOST_RETRIES = 10
HIGHEST_PRIORITY = 99


def check_request(request: CreateJobRequest) -> None:
    """Refuse what Batch refuses.

    Raises:
        InvalidArgument: names the field and the value.
    """
    if not PARENT.fullmatch(request.parent):
        raise _invalid("parent", f"{request.parent!r} is not projects/P/locations/L")
    if request.job_id and not JOB_ID.fullmatch(request.job_id):
        raise _invalid("job_id", f"{request.job_id!r} does not match {JOB_ID.pattern}")
    job = request.job
    if len(job.task_groups) != 1:
        raise _invalid(
            "job.task_groups", f"{len(job.task_groups)} groups; exactly one is supported"
        )
    if not 0 <= job.priority <= HIGHEST_PRIORITY:
        raise _invalid("job.priority", f"{job.priority} is not within 0 to {HIGHEST_PRIORITY}")
    _check_group(job.task_groups[0])
    _check_location(job, request.parent.rpartition("/")[2])


def task_count(group: TaskGroup) -> int:
    """Return how many Tasks a group has."""
    return len(group.task_environments) or int(group.task_count) or 1


def parallelism(group: TaskGroup) -> int:
    """Return how many of its Tasks run at once."""
    count = task_count(group)
    return min(int(group.parallelism) or count, count, MOST_AT_ONCE)


def _check_group(group: TaskGroup) -> None:
    if not 1 <= task_count(group) <= MOST_TASKS:
        value = task_count(group)
        raise _invalid("job.task_groups[0].task_count", f"{value} is not within 1 to {MOST_TASKS}")
    if group.parallelism < 0:
        raise _invalid("job.task_groups[0].parallelism", f"{group.parallelism} is below 0")
    field = "job.task_groups[0].task_spec"
    spec = group.task_spec
    if not spec.runnables:
        raise _invalid(f"{field}.runnables", "a Task needs at least one runnable")
    if not 0 <= spec.max_retry_count <= MOST_RETRIES:
        value = spec.max_retry_count
        raise _invalid(f"{field}.max_retry_count", f"{value} is not within 0 to {MOST_RETRIES}")
    if len(spec.lifecycle_policies) > 1:
        raise _invalid(f"{field}.lifecycle_policies", "only one policy is supported")
    for policy in spec.lifecycle_policies:
        if policy.action == LifecyclePolicy.Action.ACTION_UNSPECIFIED:
            raise _invalid(f"{field}.lifecycle_policies", "a policy needs an action")
    for index, runnable in enumerate(spec.runnables):
        _check_runnable(f"{field}.runnables[{index}]", runnable, group)
    for environment in (spec.environment, *group.task_environments):
        if environment.secret_variables or environment.encrypted_variables.cipher_text:
            raise _invalid(field, "the embedded cloud has no secrets; use plain variables")


def _check_runnable(field: str, runnable: Runnable, group: TaskGroup) -> None:
    kind = Runnable.pb(runnable).WhichOneof("executable")
    if kind is None:
        raise _invalid(field, "one of container, script or barrier is needed")
    if kind == "container" and not runnable.container.image_uri:
        raise _invalid(f"{field}.container.image_uri", "it is empty")
    if kind == "script" and not (runnable.script.text or runnable.script.path):
        raise _invalid(f"{field}.script", "one of path or text is needed")
    if kind == "barrier" and parallelism(group) != task_count(group):
        raise _invalid(field, "a barrier needs parallelism equal to task_count")


def _check_location(job: Job, region: str) -> None:
    for location in job.allocation_policy.location.allowed_locations:
        kind, _, name = location.partition("/")
        inside = name == region if kind == "regions" else name.startswith(f"{region}-")
        if kind not in ("regions", "zones") or not inside:
            raise _invalid(
                "job.allocation_policy.location.allowed_locations",
                f"{location!r} is not a region or zone of {region!r}",
            )


def _invalid(field: str, problem: str) -> exceptions.InvalidArgument:
    return exceptions.InvalidArgument(f"Invalid value for {field}: {problem}")
