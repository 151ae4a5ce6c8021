"""What Batch refuses before a Job exists."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud.batch_v1 import CreateJobRequest, TaskGroup

from saxflow.local.batch.validation import check_request, parallelism, task_count

RUN = {"runnables": [{"script": {"text": "true"}}]}


def request(**changes):
    group = {"task_spec": RUN, **changes.pop("group", {})}
    job = {"task_groups": [group], **changes.pop("job", {})}
    return CreateJobRequest(
        **{"parent": "projects/p/locations/us-central1", "job_id": "a", "job": job, **changes}
    )


def test_good_request_passes():
    check_request(request(job={"allocation_policy": {"location": {"allowed_locations": [
        "regions/us-central1", "zones/us-central1-b"]}}}))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"parent": "projects/p"}, "parent"),
        ({"job_id": "-a"}, "job_id"),
        ({"job_id": "a" * 64}, "job_id"),
        ({"job": {"priority": 100}}, "priority"),
        ({"job": {"allocation_policy": {"location": {"allowed_locations": ["us-central1"]}}}},
         "allowed_locations"),
        ({"group": {"task_count": -1}}, "task_count: -1"),
        ({"group": {"task_count": 100_001}}, "task_count: 100001"),
        ({"group": {"parallelism": -2}}, "parallelism: -2"),
        ({"group": {"task_spec": {**RUN, "lifecycle_policies": [{}]}}}, "action"),
        ({"group": {"task_spec": {**RUN, "lifecycle_policies": [{}, {}]}}}, "only one"),
        ({"group": {"task_spec": {**RUN, "environment": {"secret_variables": {"A": "b"}}}}},
         "no secrets"),
    ],
)  # fmt: skip
def test_bad_request_is_refused_by_field(changes, problem):
    with pytest.raises(exceptions.InvalidArgument, match=problem):
        check_request(request(**changes))


@pytest.mark.parametrize(
    ("fields", "count", "at_once"),
    [
        ({}, 1, 1),
        ({"task_count": 4}, 4, 4),
        ({"task_count": 4, "parallelism": 2}, 4, 2),
        ({"task_count": 4, "parallelism": 9}, 4, 4),
        ({"task_count": 10_000}, 10_000, 5_000),
        ({"task_count": 9, "task_environments": [{}, {}]}, 2, 2),
    ],
)
def test_numbers_of_tasks(fields, count, at_once):
    group = TaskGroup(**fields)
    assert (task_count(group), parallelism(group)) == (count, at_once)
