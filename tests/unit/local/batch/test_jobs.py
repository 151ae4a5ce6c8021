"""A Job on its way."""

from __future__ import annotations

import os
import threading
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor

from google.cloud.batch_v1 import Job

from saxflow.local.batch.jobs import JobRun
from saxflow.local.batch.states import JobState, TaskState
from saxflow.local.clock import RealClock, VirtualClock
from saxflow.local.images import ImageRegistry
from saxflow.local.messages import timestamp
from saxflow.local.surroundings import Surroundings


def run(tmp_path, *texts, env=None, clock=None, spec=(), **group):
    """Return a Job of script runnables; a text of None is a barrier."""
    images = tmp_path / "images.json"
    ImageRegistry({}).save(images)
    runnables = [{"script": {"text": text}} if text else {"barrier": {}} for text in texts]
    spec = {"runnables": runnables, **dict(spec)}
    job = Job(
        name="projects/p/locations/l/jobs/j",
        uid="j-1",
        task_groups=[{"task_spec": spec, **group}],
        create_time=timestamp((clock or RealClock()).now()),
    )
    env = env or {"PATH": os.environ["PATH"]}
    return JobRun(job, Surroundings(tmp_path, env, images, clock or RealClock()))


def test_job_begins_queued_with_all_tasks_pending(tmp_path):
    job = run(tmp_path, "true", task_count=3).snapshot()
    assert job.status.state == JobState.QUEUED
    assert dict(job.status.task_groups["group0"].counts) == {"PENDING": 3}
    assert job.task_groups[0].name == f"{job.name}/taskGroups/group0"


def test_tasks_share_as_many_threads_as_may_run_at_once(tmp_path):
    job = run(tmp_path, "echo $BATCH_TASK_INDEX", task_count=5, parallelism=2)
    job.start()
    assert job.wait(60) == JobState.SUCCEEDED
    assert [t.status.state.name for t in job.tasks()] == ["SUCCEEDED"] * 5


def test_stop_before_start_is_cancelled_at_once(tmp_path):
    job = run(tmp_path, "true")
    job.stop(JobState.CANCELLATION_IN_PROGRESS, JobState.CANCELLED)
    assert job.wait(0) == JobState.CANCELLED


class Gate(UserDict):
    """An environment: who looks at it sets `arrived` and awaits `go`."""

    def __init__(self, data):
        super().__init__(data)
        self.arrived, self.go = threading.Event(), threading.Event()

    def keys(self):
        self.arrived.set()
        assert self.go.wait(60)
        return super().keys()


def test_cancelled_before_its_first_process_a_task_is_not_executed(tmp_path, eventually):
    gate = Gate({"PATH": os.environ["PATH"]})
    job = run(tmp_path, "true", env=gate)
    job.start()
    assert gate.arrived.wait(60)
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(job.stop, JobState.CANCELLATION_IN_PROGRESS, JobState.CANCELLED)
        eventually(lambda: job.wait(0) == JobState.CANCELLATION_IN_PROGRESS)
        gate.go.set()
        stopped.result(60)
    assert job.wait(0) == JobState.CANCELLED
    assert [t.status.state for t in job.tasks()] == [TaskState.UNEXECUTED]


def test_no_room_for_its_directory_fails_the_job(tmp_path):
    (tmp_path / "batch").write_text("in the way")
    job = run(tmp_path, "true")
    job.start()
    assert job.wait(60) == JobState.FAILED
    assert str(tmp_path / "batch") in job.snapshot().status.status_events[-1].description


def test_nobody_waits_at_a_barrier_for_a_task_that_has_failed(tmp_path):
    job = run(tmp_path, "test $BATCH_TASK_INDEX = 0", None, task_count=2, parallelism=2)
    job.start()
    assert job.wait(60) == JobState.FAILED
    assert "task with index 1" in job.snapshot().status.status_events[-1].description


def test_a_preempted_task_comes_back_to_the_barrier(tmp_path, eventually):
    text = (
        f"touch {tmp_path}/here-$BATCH_TASK_INDEX-$BATCH_TASK_RETRY_ATTEMPT;"
        f"while [ $BATCH_TASK_INDEX = 1 -a ! -e {tmp_path}/go ]; do sleep 0.01; done"
    )
    retries = {"max_retry_count": 1}
    job = run(tmp_path, text, None, "echo on", spec=retries, task_count=2, parallelism=2)
    job.start()
    eventually(lambda: (tmp_path / "here-0-0").exists())
    assert job.preempt(0)
    eventually(lambda: (tmp_path / "here-0-1").exists())
    (tmp_path / "go").touch()
    assert job.wait(60) == JobState.SUCCEEDED
    logs = tmp_path / "batch/j"
    assert all((logs / f"task-{i}.log").read_text().endswith("on\n") for i in (0, 1))


def test_run_duration_is_the_time_in_running(tmp_path):
    clock = VirtualClock()
    job = run(tmp_path, "true", clock=clock)
    clock.advance(3600)
    job.start()
    job.wait(60)
    assert job.snapshot().status.run_duration.total_seconds() == 0


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
    assert broken.wait(60) == JobState.FAILED
    assert "images.json" in (tmp_path / "batch/b/task-0.log").read_text()
