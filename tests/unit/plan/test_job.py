"""The Batch Job is what Batch takes, and retries only where that can help."""

import json
from dataclasses import replace

import pytest
from google.cloud import batch_v1
from hypothesis import given
from hypothesis import strategies as st

from saxflow.plan import job
from saxflow.settings import Settings

ARGUMENTS = ["--source", "gs://a/b"]


def typed(settings: Settings, tasks: int = 3) -> batch_v1.Job:
    body = job.job_body(
        settings, arguments=ARGUMENTS, tasks=tasks, deadline_seconds=90.4, labels={"a": "b"}
    )
    return batch_v1.Job.from_json(json.dumps(body))


@pytest.mark.parametrize(
    ("size", "tasks"),
    [(0, 1), (1, 1), (16 << 30, 1), ((16 << 30) + 1, 2), (140 * 10**9, 8), (10**13, 8)],
)
def test_tasks_by_size(size: int, tasks: int) -> None:
    assert job.task_count(size) == tasks


@given(st.integers(0, 10**14))
def test_tasks_are_one_to_eight(size: int) -> None:
    assert 1 <= job.task_count(size) <= 8


def test_the_job(settings: Settings) -> None:
    found = typed(settings)
    (group,) = found.task_groups
    assert (group.task_count, group.parallelism, group.task_count_per_node) == (3, 3, 1)
    (runnable,) = group.task_spec.runnables
    assert runnable.container.image_uri == "r/convert@sha256:1"
    assert list(runnable.container.commands) == ARGUMENTS
    assert group.task_spec.max_run_duration.total_seconds() == 90
    (policy,) = group.task_spec.lifecycle_policies
    assert policy.action == batch_v1.LifecyclePolicy.Action.RETRY_TASK
    assert list(policy.action_condition.exit_codes) == [6, 50001, 50002, 50003, 50006]
    instance = found.allocation_policy.instances[0].policy
    assert instance.provisioning_model == batch_v1.AllocationPolicy.ProvisioningModel.SPOT
    assert group.task_spec.compute_resource.cpu_milli == 16000
    assert found.labels == {"a": "b"}
    assert found.allocation_policy.network.network_interfaces[0].no_external_ip_address
    assert found.allocation_policy.service_account.email.startswith("batch@")
    assert found.logs_policy.destination == batch_v1.LogsPolicy.Destination.CLOUD_LOGGING


def test_defaults_of_the_project(settings: Settings) -> None:
    bare = typed(replace(settings, network="", subnetwork="", batch_account=""))
    assert not bare.allocation_policy.network.network_interfaces
    assert not bare.allocation_policy.service_account.email


def test_the_command_line() -> None:
    assert job.worker_arguments(
        source="gs://a/b",
        destination="gs://c/d/0123",
        fingerprint="0123",
        dtype="float16",
        mesh=4,
        compressor="none",
        sha256={"b": "2", "a": "1"},
    ) == [
        *("--source", "gs://a/b", "--destination", "gs://c/d/0123", "--fingerprint", "0123"),
        *("--dtype", "float16", "--mesh", "4", "--compressor", "none"),
        *("--sha256", '{"a": "1", "b": "2"}'),
    ]
