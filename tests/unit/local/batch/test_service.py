"""BatchService without a wire; the wire is judged in tests/contract/local/compute."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from google.api_core import exceptions
from google.cloud import batch_v1

from saxflow.local.batch.service import BatchService
from saxflow.local.batch.states import JobState
from saxflow.local.images import ImageRegistry
from saxflow.local.surroundings import Surroundings

PARENT = "projects/p/locations/us-central1"


@pytest.fixture
def service(tmp_path, operations):
    ImageRegistry({}).save(tmp_path / "images.json")
    env = {"PATH": os.environ["PATH"]}
    service = BatchService(Surroundings(tmp_path, env, tmp_path / "images.json"), operations)
    yield service
    service.stop()


def create(service, text, job_id="j"):
    job = {"task_groups": [{"task_spec": {"runnables": [{"script": {"text": text}}]}}]}
    request = batch_v1.CreateJobRequest(parent=PARENT, job_id=job_id, job=job)
    return service.create_job(request)


def test_id_is_made_up_when_none_is_given(service):
    assert create(service, "true", "").name.startswith(f"{PARENT}/jobs/j-")


def test_stop_leaves_no_process(service, tmp_path, eventually):
    pid = tmp_path / "pid"
    job = create(service, f"echo $$ >{pid}.new; mv {pid}.new {pid}; sleep 600")
    eventually(pid.exists)
    service.stop()
    assert service.wait(job.name, 0) == JobState.CANCELLED
    assert not os.path.exists(f"/proc/{pid.read_text().strip()}")


def test_running_task_can_be_preempted(service, eventually):
    job = create(service, "sleep 600")
    eventually(lambda: service.preempt(job.name, 0))
    assert service.wait(job.name, 60) == JobState.FAILED


def test_what_the_service_alone_tells_is_not_taken_from_a_request(service):
    status = {"state": "SUCCEEDED", "status_events": [{"description": "of another Job"}]}
    spec = {"runnables": [{"script": {"text": "sleep 600"}}]}
    job = {"name": "x", "uid": "x", "status": status, "task_groups": [{"task_spec": spec}]}
    created = service.create_job(batch_v1.CreateJobRequest(parent=PARENT, job_id="j", job=job))
    assert created.name == f"{PARENT}/jobs/j"
    assert created.uid != "x"
    assert created.status.state == JobState.QUEUED
    assert created.status.status_events == []


def test_deletions_of_one_job_end_with_it_and_spare_its_successor(service, done):
    for _ in range(10):
        name = create(service, "sleep 600").name
        asked = []
        with suppress(exceptions.NotFound):  # it may be gone before the next is asked for
            for _ in range(3):
                asked.append(service.delete_job(batch_v1.DeleteJobRequest(name=name)))
        done(asked[-1])
        successor = create(service, "sleep 600")
        for operation in asked:
            done(operation)
        assert service.get_job(batch_v1.GetJobRequest(name=name)).uid == successor.uid
        done(service.delete_job(batch_v1.DeleteJobRequest(name=name)))


def test_nothing_is_created_after_the_stop(service):
    service.stop()
    with pytest.raises(exceptions.ServiceUnavailable, match="stopping"):
        create(service, "true")


def test_filters_are_refused_rather_than_ignored(service):
    with pytest.raises(exceptions.MethodNotImplemented):
        service.list_jobs(batch_v1.ListJobsRequest(parent=PARENT, filter="x"))
