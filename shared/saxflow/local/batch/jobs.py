"""A Job from QUEUED to its end: Tasks handed to threads, retries, counts and status events."""

from __future__ import annotations

import queue
import shutil
import threading
from collections import Counter
from datetime import datetime
from typing import cast

from google.cloud.batch_v1 import (
    Job,
    JobStatus,
    Runnable,
    StatusEvent,
    Task,
    TaskExecution,
    TaskGroup,
)

from saxflow.local.batch.policy import PREEMPTED, reason, retries
from saxflow.local.batch.states import (
    ENDED_JOB,
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobState,
    TaskState,
)
from saxflow.local.batch.tasks import Attempt, Barrier, Workplace
from saxflow.local.batch.validation import parallelism, task_count
from saxflow.local.messages import copied, since, timestamp
from saxflow.local.surroundings import Surroundings

GROUP = "group0"
KILLED = 137


class JobRun:
    """One Job and the threads that run it."""

    def __init__(self, job: Job, surroundings: Surroundings) -> None:
        self._job = job
        self._around = surroundings
        self._changed = threading.Condition()
        self._cancelled = threading.Event()
        self._running_since: datetime | None = None
        self._attempts: dict[int, Attempt] = {}
        self._directory = surroundings.data / "batch" / job.name.rpartition("/")[2]
        group = job.task_groups[0]
        group.name = f"{job.name}/taskGroups/{GROUP}"
        self._tasks = [
            Task(name=f"{group.name}/tasks/{i}", status={"state": TaskState.PENDING})
            for i in range(task_count(group))
        ]
        self._barriers = {
            i: Barrier(len(self._tasks))
            for i, runnable in enumerate(group.task_spec.runnables)
            if Runnable.pb(runnable).WhichOneof("executable") == "barrier"
        }
        job.status.state = JobState.QUEUED
        self._count()
        self._thread = threading.Thread(target=self._run, name=f"batch-{job.uid}", daemon=True)

    @property
    def name(self) -> str:
        """Full resource name."""
        return self._job.name

    def snapshot(self) -> Job:
        """Return a copy of the Job as it is now."""
        with self._changed:
            return copied(self._job)

    def task(self, index: int) -> Task:
        """Return a copy of one Task; IndexError when there is none."""
        with self._changed:
            return copied(self._tasks[index])

    def tasks(self) -> list[Task]:
        """Return copies of all Tasks."""
        return [self.task(i) for i in range(len(self._tasks))]

    def start(self) -> None:
        """Let it run."""
        with self._changed:
            self._thread.start()

    def preempt(self, index: int) -> bool:
        """Take the VM of a running Task away; False when the Task does not run."""
        with self._changed:
            attempt = self._attempts.get(index)
        if attempt is None:
            return False
        attempt.end(PREEMPTED)
        return True

    def stop(self, passing: JobState, final: JobState | None) -> None:
        """Kill every process and wait for the threads.

        Args:
            passing: state meanwhile.
            final: state afterwards, None to stay.
        """
        with self._changed:
            if passing in JOB_TRANSITIONS[JobState(self._job.status.state)]:
                self._move(passing)
            self._cancelled.set()
            attempts = list(self._attempts.values())
            started = self._thread.ident is not None
        self._around.outcomes.wake()
        for attempt in attempts:
            attempt.end(KILLED)
        if started:
            self._thread.join()
        with self._changed:
            if final is not None and final in JOB_TRANSITIONS[JobState(self._job.status.state)]:
                self._move(final)

    def wait(self, timeout_seconds: float) -> JobState:
        """Return the state once the Job has ended, or what it is after the timeout."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._job.status.state in ENDED_JOB, timeout=timeout_seconds
            )
            return JobState(self._job.status.state)

    def _run(self) -> None:
        if not self._around.outcomes.wait_released(self.name, self._cancelled):
            return
        problem = self._prepare()
        with self._changed:
            if self._cancelled.is_set():
                return
            if problem:
                self._move(JobState.FAILED, problem)
                return
            self._move(JobState.SCHEDULED)
            self._move(JobState.RUNNING)
            self._running_since = self._around.clock.now()
        self._run_tasks()
        self._finish()

    def _prepare(self) -> str:
        """Make room for the Tasks; return what is in the way, empty for nothing."""
        failure = self._around.outcomes.take("fail", self.name)
        if failure is not None:
            return failure.message or "no VM could be created"
        try:
            shutil.rmtree(self._directory, ignore_errors=True)  # logs of a deleted Job of this id
            self._directory.mkdir(parents=True)
        except OSError as error:
            return f"no directory for its Tasks: {error}"
        return ""

    def _run_tasks(self) -> None:
        pending: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index in range(len(self._tasks)):
            pending.put(index)
        threads = [
            threading.Thread(target=self._work, args=(pending,), daemon=True)
            for _ in range(parallelism(self._job.task_groups[0]))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, pending: queue.SimpleQueue[int]) -> None:
        while True:
            try:
                index = pending.get_nowait()
            except queue.Empty:
                return
            if self._cancelled.is_set() or self._has_failed():
                self._skip_task(index)
            else:
                self._run_task(index)

    def _skip_task(self, index: int) -> None:
        with self._changed:
            self._move_task(index, TaskState.UNEXECUTED, "the Job has ended")

    def _has_failed(self) -> bool:
        with self._changed:
            return any(task.status.state == TaskState.FAILED for task in self._tasks)

    def _run_task(self, index: int) -> None:
        spec = self._job.task_groups[0].task_spec
        attempts = 0
        while True:
            attempts += 1
            code = self._attempt(index, attempts)
            if code is None:
                self._skip_task(index)
                return
            again = code != 0 and not self._cancelled.is_set() and retries(spec, code, attempts)
            with self._changed:
                if code == 0:
                    self._move_task(index, TaskState.SUCCEEDED, "with exit code 0", code)
                elif again:
                    self._move_task(index, TaskState.PENDING, f"{reason(code)}; retried", code)
                else:
                    self._move_task(index, TaskState.FAILED, reason(code), code)
                    for barrier in self._barriers.values():
                        barrier.give_up()
            if not again:
                return

    def _attempt(self, index: int, number: int) -> int | None:
        """Run a Task once and return its exit code, None when the Job was ended before."""
        group = self._job.task_groups[0]
        attempt = Attempt(group.task_spec, self._workplace(index, number, group))
        with self._changed:
            if self._cancelled.is_set():
                return None
            self._attempts[index] = attempt
            self._move_task(index, TaskState.ASSIGNED, "a VM was assigned")
            self._move_task(index, TaskState.RUNNING, "its runnables were started")
        preemption = self._around.outcomes.take("preempt", self._tasks[index].name)
        if preemption is not None:
            timer = threading.Timer(preemption.after_seconds, attempt.end, args=(PREEMPTED,))
            timer.daemon = True
            timer.start()
        try:
            return attempt.run()
        finally:
            with self._changed:
                del self._attempts[index]

    def _workplace(self, index: int, attempt: int, group: TaskGroup) -> Workplace:
        variables = (
            dict(group.task_environments[index].variables) if group.task_environments else {}
        )
        env = {
            **self._around.env,
            **variables,
            "BATCH_TASK_INDEX": str(index),
            "BATCH_TASK_COUNT": str(len(self._tasks)),
            "BATCH_TASK_RETRY_ATTEMPT": str(attempt - 1),
            "BATCH_JOB_ID": self.name.rpartition("/")[2],
            "BATCH_JOB_UID": self._job.uid,
        }
        log = self._directory / f"task-{index}.log"
        return Workplace(index, self._directory, log, env, self._around.registry, self._barriers)

    def _finish(self) -> None:
        with self._changed:
            if self._cancelled.is_set():
                return
            unfinished = [t for t in self._tasks if t.status.state != TaskState.SUCCEEDED]
            if not unfinished:
                self._move(JobState.SUCCEEDED)
                return
            failed = [t for t in unfinished if t.status.state == TaskState.FAILED]
            first = min(failed or unfinished, key=_last_event_seconds)
            events = first.status.status_events
            event = events[-1].description if events else "it was never run"
            self._move(
                JobState.FAILED,
                "Job failed due to task failure. Specifically, task with index"
                f' {first.name.rpartition("/")[2]} failed due to the following task event: "{event}"',
            )

    def _move(self, state: JobState, why: str = "") -> None:
        before = JobState(self._job.status.state)
        if state not in JOB_TRANSITIONS[before]:
            raise RuntimeError(f"a Job cannot go from {before.name} to {state.name}")
        now = self._around.clock.now()
        self._job.status.state = state
        self._job.update_time = timestamp(now)
        if state in ENDED_JOB:
            self._job.status.run_duration = since(self._running_since, now)
        text = f"Job state is set from {before.name} to {state.name} for job {self.name}."
        self._job.status.status_events.append(
            StatusEvent(type_="STATUS_CHANGED", description=f"{text} {why}".strip(), event_time=now)
        )
        self._changed.notify_all()

    def _move_task(
        self, index: int, state: TaskState, why: str, exit_code: int | None = None
    ) -> None:
        status = self._tasks[index].status
        before = TaskState(status.state)
        if state not in TASK_TRANSITIONS[before]:
            raise RuntimeError(f"a Task cannot go from {before.name} to {state.name}")
        reported = TaskState.FAILED if exit_code and state == TaskState.PENDING else state
        text = f"Task state is updated from {before.name} to {reported.name}"
        event = StatusEvent(
            type_="STATUS_CHANGED",
            description=f"{text} {why}",
            event_time=self._around.clock.now(),
            task_state=reported,
        )
        if exit_code is not None:
            event.task_execution = TaskExecution(exit_code=exit_code)
        status.state = state
        status.status_events.append(event)
        self._count()

    def _count(self) -> None:
        counts = Counter(TaskState(task.status.state).name for task in self._tasks)
        self._job.status.task_groups[GROUP] = JobStatus.TaskGroupStatus(counts=dict(counts))


def _last_event_seconds(task: Task) -> float:
    """Return when a Task's latest event came, in seconds since the epoch; 0 when there is none."""
    events = task.status.status_events
    return cast(datetime, events[-1].event_time).timestamp() if events else 0.0
