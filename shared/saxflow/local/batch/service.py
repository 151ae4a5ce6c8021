"""BatchService: Jobs and Tasks, as Google's client knows them.

Source: google/cloud/batch/v1/batch.proto
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

from google.api_core import exceptions
from google.cloud import batch_v1
from google.longrunning import operations_pb2

from saxflow.local.batch.jobs import GROUP, JobRun
from saxflow.local.batch.states import ENDED_JOB, JobState
from saxflow.local.batch.validation import check_request, parallelism, task_count
from saxflow.local.messages import copied, timestamp
from saxflow.local.paging import page
from saxflow.local.rpc.operations import Operations
from saxflow.local.surroundings import Surroundings


class BatchService:
    """The Jobs of one embedded cloud.

    Args:
        surroundings: data directory, environment, images, clock, outcomes.
        operations: where cancel and delete report.
    """

    def __init__(self, surroundings: Surroundings, operations: Operations) -> None:
        self._around = surroundings
        self._operations = operations
        self._lock = threading.Lock()
        self._runs: dict[str, JobRun] = {}
        self._requests: dict[tuple[str, str], str] = {}
        self._stopped = False

    def create_job(self, request: batch_v1.CreateJobRequest) -> batch_v1.Job:
        """Queue a Job.

        Raises:
            InvalidArgument, AlreadyExists, TooManyRequests: as Batch does.
            ServiceUnavailable: the embedded cloud is stopping.
        """
        check_request(request)
        job_id = request.job_id or f"j-{uuid.uuid4()}"
        name = f"{request.parent}/jobs/{job_id}"
        quota = self._around.outcomes.take("quota", name)
        if quota is not None:
            raise exceptions.TooManyRequests(quota.message or "Quota exceeded for Batch jobs")
        with self._lock:
            if self._stopped:
                raise exceptions.ServiceUnavailable("the embedded cloud is stopping")
            known = self._requests.get((request.parent, request.request_id))
            if known in self._runs:
                return self._runs[known].snapshot()
            if name in self._runs:
                raise exceptions.AlreadyExists(f"Resource '{name}' already exists")
            run = JobRun(self._job(request, name), self._around)
            self._runs[name] = run
            if request.request_id:
                self._requests[request.parent, request.request_id] = name
        created = run.snapshot()
        run.start()
        return created

    def get_job(self, request: batch_v1.GetJobRequest) -> batch_v1.Job:
        """Return a Job.

        Raises:
            NotFound: there is none.
        """
        return self._known(request.name).snapshot()

    def list_jobs(self, request: batch_v1.ListJobsRequest) -> batch_v1.ListJobsResponse:
        """Return the Jobs of a location, the newest first.

        Raises:
            MethodNotImplemented: a filter or an order was asked for.
        """
        _refuse_filter(request.filter, request.order_by)
        with self._lock:
            runs = [r for r in self._runs.values() if r.name.startswith(f"{request.parent}/jobs/")]
        jobs, token = page(runs[::-1], request.page_size, request.page_token)
        return batch_v1.ListJobsResponse(jobs=[r.snapshot() for r in jobs], next_page_token=token)

    def cancel_job(self, request: batch_v1.CancelJobRequest) -> operations_pb2.Operation:
        """Kill a Job's Tasks and keep the Job.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it has ended.
        """
        run = self._known(request.name)
        if run.snapshot().status.state in ENDED_JOB:
            raise exceptions.FailedPrecondition(f"Job {request.name} has already ended")

        def cancel() -> batch_v1.CancelJobResponse:
            run.stop(JobState.CANCELLATION_IN_PROGRESS, JobState.CANCELLED)
            return batch_v1.CancelJobResponse()

        return self._later(request.name, "cancel", cancel)

    def delete_job(self, request: batch_v1.DeleteJobRequest) -> operations_pb2.Operation:
        """Kill a Job's Tasks and forget the Job; its logs stay.

        Raises:
            NotFound: there is none.
        """
        run = self._known(request.name)

        def delete() -> None:
            run.stop(JobState.DELETION_IN_PROGRESS, None)
            with self._lock:
                if self._runs.get(request.name) is run:
                    del self._runs[request.name]

        return self._later(request.name, "delete", delete)

    def get_task(self, request: batch_v1.GetTaskRequest) -> batch_v1.Task:
        """Return a Task.

        Raises:
            NotFound: there is none.
        """
        group, _, index = request.name.partition("/tasks/")
        tasks = self._group(group).tasks()
        if not index.isdecimal() or int(index) >= len(tasks):
            raise exceptions.NotFound(f"Resource '{request.name}' was not found")
        return tasks[int(index)]

    def list_tasks(self, request: batch_v1.ListTasksRequest) -> batch_v1.ListTasksResponse:
        """Return the Tasks of a group.

        Raises:
            NotFound: there is no such group.
            MethodNotImplemented: a filter was asked for.
        """
        _refuse_filter(request.filter, "")
        everything = self._group(request.parent).tasks()
        tasks, token = page(everything, request.page_size, request.page_token)
        return batch_v1.ListTasksResponse(tasks=tasks, next_page_token=token)

    def preempt(self, name: str, index: int) -> bool:
        """Take the VM of a running Task away, as Spot does; False when it does not run."""
        return self._known(name).preempt(index)

    def wait(self, name: str, timeout_seconds: float) -> JobState:
        """Return a Job's state once it has ended, or what it is after the timeout."""
        return self._known(name).wait(timeout_seconds)

    def stop(self) -> None:
        """Kill every Task of every Job; nothing is created any more."""
        with self._lock:
            self._stopped = True
            runs = list(self._runs.values())
        for run in runs:
            run.stop(JobState.CANCELLATION_IN_PROGRESS, JobState.CANCELLED)

    def _job(self, request: batch_v1.CreateJobRequest, name: str) -> batch_v1.Job:
        job = copied(request.job)
        group = job.task_groups[0]
        group.task_count = task_count(group)
        group.parallelism = parallelism(group)
        job.status = batch_v1.JobStatus()
        job.name = name
        job.uid = f"{name.rpartition('/')[2][:32]}-{uuid.uuid4()}"
        job.create_time = job.update_time = timestamp(self._around.clock.now())
        return job

    def _known(self, name: str) -> JobRun:
        with self._lock:
            if name in self._runs:
                return self._runs[name]
        raise exceptions.NotFound(f"Resource '{name}' was not found")

    def _group(self, name: str) -> JobRun:
        job, _, group = name.partition("/taskGroups/")
        if group != GROUP:
            raise exceptions.NotFound(f"Resource '{name}' was not found")
        return self._known(job)

    def _later(
        self, name: str, verb: str, action: Callable[[], object]
    ) -> operations_pb2.Operation:
        parent = name.partition("/jobs/")[0]
        metadata = batch_v1.OperationMetadata(
            create_time=timestamp(self._around.clock.now()),
            target=name,
            verb=verb,
            api_version="v1",
        )
        return self._operations.carry_out(parent, metadata, action)


def _refuse_filter(wanted: str, order: str) -> None:
    if wanted or order:
        raise exceptions.MethodNotImplemented(
            "the embedded Batch lists without filter and order; choose from the whole list"
        )
