"""BatchService without a wire; the wire is judged in tests/contract/local/compute."""

from __future__ import annotations

import os

import pytest
from google.api_core import exceptions
from google.cloud import batch_v1

from saxflow.local.batch.service import BatchService
from saxflow.local.batch.states import JobState
from saxflow.local.images import ImageRegistry
from saxflow.local.rpc.operations import Operations
from saxflow.local.surroundings import Surroundings

PARENT = "projects/p/locations/us-central1"


@pytest.fixture
def service(tmp_path):
    ImageRegistry({}).save(tmp_path / "images.json")
    env = {"PATH": os.environ["PATH"]}
    service = BatchService(Surroundings(tmp_path, env, tmp_path / "images.json"), Operations())
    yield service
    service.stop()


def create(service, text, job_id="j"):
    job = {"task_groups": [{"task_spec": {"runnables": [{"script": {"text": text}}]}}]}
    request = batch_v1.CreateJobRequest(parent=PARENT, job_id=job_id, job=job)
    return service.create_job(request)


def test_id_is_made_up_when_none_is_given(service):
    assert create(service, "true", "").name.startswith(f"{PARENT}/jobs/j-")


def test_stop_leaves_no_process(service, tmp_path):
    job = create(service, f"echo $$ > {tmp_path}/pid; mkfifo {tmp_path}/f; exec 3<>{tmp_path}/f;"
                          f" echo up > {tmp_path}/f; read x <&3; sleep 600")  # fmt: skip
    while service.get_job(batch_v1.GetJobRequest(name=job.name)).status.state != JobState.RUNNING:
        service.wait(job.name, 0.01)
    service.stop()
    assert service.wait(job.name, 0) == JobState.CANCELLED
    pid = (tmp_path / "pid").read_text().strip() if (tmp_path / "pid").exists() else ""
    assert not pid or not os.path.exists(f"/proc/{pid}")


def test_running_task_can_be_preempted(service):
    job = create(service, "sleep 600")
    while not service.preempt(job.name, 0):
        service.wait(job.name, 0.01)
    assert service.wait(job.name, 10) == JobState.FAILED


def test_filters_are_refused_rather_than_ignored(service):
    with pytest.raises(exceptions.MethodNotImplemented):
        service.list_jobs(batch_v1.ListJobsRequest(parent=PARENT, filter="x"))
