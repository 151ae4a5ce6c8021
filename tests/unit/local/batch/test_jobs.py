"""A Job on its way."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from google.cloud.batch_v1 import Job

from saxflow.local.batch.jobs import JobRun
from saxflow.local.batch.states import JobState
from saxflow.local.images import ImageRegistry
from saxflow.local.messages import timestamp
from saxflow.local.surroundings import Surroundings


def run(tmp_path, text, **group):
    images = tmp_path / "images.json"
    ImageRegistry({}).save(images)
    spec = {"runnables": [{"script": {"text": text}}]}
    job = Job(
        name="projects/p/locations/l/jobs/j",
        uid="j-1",
        task_groups=[{"task_spec": spec, **group}],
        create_time=timestamp(datetime.now(UTC)),
    )
    return JobRun(job, Surroundings(tmp_path, {"PATH": os.environ["PATH"]}, images))


def test_job_begins_queued_with_all_tasks_pending(tmp_path):
    job = run(tmp_path, "true", task_count=3).snapshot()
    assert job.status.state == JobState.QUEUED
    assert dict(job.status.task_groups["group0"].counts) == {"PENDING": 3}
    assert job.task_groups[0].name == f"{job.name}/taskGroups/group0"


def test_tasks_share_as_many_threads_as_may_run_at_once(tmp_path):
    job = run(tmp_path, "echo $BATCH_TASK_INDEX", task_count=5, parallelism=2)
    job.start()
    assert job.wait(20) == JobState.SUCCEEDED
    assert [t.status.state.name for t in job.tasks()] == ["SUCCEEDED"] * 5


def test_stop_before_start_is_cancelled_at_once(tmp_path):
    job = run(tmp_path, "true")
    job.stop(JobState.CANCELLATION_IN_PROGRESS, JobState.CANCELLED)
    assert job.wait(0) == JobState.CANCELLED


def test_preempting_a_task_that_does_not_run_does_nothing(tmp_path):
    assert run(tmp_path, "true").preempt(0) is False


def test_broken_image_registry_fails_the_task_not_the_cloud(tmp_path):
    (tmp_path / "images.json").write_text("broken")
    container = {"container": {"image_uri": "img"}}
    spec = {"task_spec": {"runnables": [container]}}
    broken = JobRun(
        Job(name="projects/p/locations/l/jobs/b", uid="b", task_groups=[spec]),
        Surroundings(tmp_path, {}, tmp_path / "images.json"),
    )
    broken.start()
    assert broken.wait(20) == JobState.FAILED
    assert "images.json" in (tmp_path / "batch/b/task-0.log").read_text()
