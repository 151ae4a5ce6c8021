"""One attempt at a Task: its runnables, in order, as guarded processes.

Container runnables go through the image registry, script runnables through `sh`. Deadlines are real
time whatever the cloud's clock says, because processes live in real time.

Source: google/cloud/batch/v1/task.proto, Runnable
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.cloud.batch_v1 import Runnable, TaskSpec

from saxflow.errors import InputError, NotFoundError
from saxflow.local.batch.policy import OUT_OF_TIME
from saxflow.local.images import ImageRegistry
from saxflow.local.messages import seconds
from saxflow.local.vm.processes import GuardedProcess

IMAGE_MISSING = 125
COMMAND_MISSING = 127


class Barrier:
    """Where the Tasks of a Job wait until all of them are there, each once or after a retry."""

    def __init__(self, tasks: int) -> None:
        self._changed = threading.Condition()
        self._missing = set(range(tasks))
        self._broken = False

    def wait(self, task: int, ended: Callable[[], bool]) -> bool:
        """Return True when all are there; False when one has failed, or `ended` for this one."""
        with self._changed:
            self._missing.discard(task)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._missing or self._broken or ended())
            if self._missing:
                self._missing.add(task)
            return not self._missing

    def wake(self) -> None:
        """Let those who wait look at their `ended` again."""
        with self._changed:
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let nobody wait any more: a Task will never come."""
        with self._changed:
            self._broken = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Workplace:
    """Where a Task's processes run.

    Args:
        task: index of the Task.
        directory: scratch of the Job; script texts go there.
        log: file that all runnables write to.
        env: environment of every runnable, before its own.
        registry: which images exist.
        barriers: of the Job, by the runnable's index.
    """

    task: int
    directory: Path
    log: Path
    env: Mapping[str, str]
    registry: Callable[[], ImageRegistry]
    barriers: Mapping[int, Barrier]


class Attempt:
    """Runs a Task once; may be ended from outside with an exit code of Batch's own."""

    def __init__(self, spec: TaskSpec, workplace: Workplace) -> None:
        self._spec = spec
        self._workplace = workplace
        self._lock = threading.Lock()
        self._processes: list[GuardedProcess] = []
        self._ended_with: int | None = None

    def end(self, exit_code: int) -> None:
        """Kill everything; `run` then returns this code."""
        with self._lock:
            if self._ended_with is None:
                self._ended_with = exit_code
            processes = list(self._processes)
        for barrier in self._workplace.barriers.values():
            barrier.wake()
        for process in processes:
            process.kill()

    def run(self) -> int:
        """Run every runnable; return 0 or the exit code that decides the Task."""
        timer = _timer(seconds(self._spec.max_run_duration), lambda: self.end(OUT_OF_TIME))
        try:
            code = self._run_all()
        finally:
            timer.cancel()
            for process in self._processes:
                process.kill()
        return code if self._ended_with is None else self._ended_with

    def _run_all(self) -> int:
        code = 0
        for index, runnable in enumerate(self._spec.runnables):
            if self._ended_with is not None:
                break
            if code and not runnable.always_run:
                continue
            ended = self._run_one(index, runnable)
            if not runnable.ignore_exit_status:
                code = code or ended
        return code

    def _run_one(self, index: int, runnable: Runnable) -> int:
        if Runnable.pb(runnable).WhichOneof("executable") == "barrier":
            return self._pass_barrier(index)
        try:
            process = self._start(index, runnable)
        except (NotFoundError, InputError) as error:
            self._say(str(error))
            return IMAGE_MISSING
        except OSError as error:
            self._say(str(error))
            return COMMAND_MISSING
        if process is None or runnable.background:
            return 0
        return self._finish(process, runnable)

    def _finish(self, process: GuardedProcess, runnable: Runnable) -> int:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = _timer(seconds(runnable.timeout), expire)
        code = process.wait()
        timer.cancel()
        return OUT_OF_TIME if expired.is_set() else code

    def _start(self, index: int, runnable: Runnable) -> GuardedProcess | None:
        argv = self._command(index, runnable)
        env = {
            **self._workplace.env,
            **self._spec.environment.variables,
            **runnable.environment.variables,
            **_mounts(runnable),
        }
        with self._lock:
            if self._ended_with is not None:
                return None
            process = GuardedProcess(
                argv, env=env, output=self._workplace.log, cwd=self._workplace.directory
            )
            self._processes.append(process)
        return process

    def _command(self, index: int, runnable: Runnable) -> list[str]:
        if Runnable.pb(runnable).WhichOneof("executable") == "container":
            container = runnable.container
            command = self._workplace.registry().command(container.image_uri)
            if container.entrypoint:
                command = [container.entrypoint]
            return [*command, *container.commands]
        if runnable.script.path:
            return ["/bin/sh", runnable.script.path]
        if not runnable.script.text.startswith("#!"):
            return ["/bin/sh", "-c", runnable.script.text]
        script = self._workplace.directory / f"{self._workplace.log.stem}-runnable-{index}"
        script.write_text(runnable.script.text, encoding="utf-8")
        script.chmod(0o700)
        return [str(script)]

    def _pass_barrier(self, index: int) -> int:
        barrier = self._workplace.barriers[index]
        if barrier.wait(self._workplace.task, lambda: self._ended_with is not None):
            return 0
        self._say("the barrier was left: a Task had failed, or this one was ended")
        return 1

    def _say(self, message: str) -> None:
        with self._workplace.log.open("a", encoding="utf-8") as log:
            log.write(f"{message}\n")


def _mounts(runnable: Runnable) -> dict[str, str]:
    pairs = [volume.split(":") for volume in runnable.container.volumes]
    mounts = {pair[1]: pair[0] for pair in pairs if len(pair) > 1}
    return {"SAXFLOW_CONTAINER_MOUNTS": json.dumps(mounts)} if runnable.container else {}


def _timer(delay_seconds: float, action: Callable[[], None]) -> threading.Timer:
    """Start a timer; zero seconds means never."""
    timer = threading.Timer(min(delay_seconds, threading.TIMEOUT_MAX), action)
    timer.daemon = True
    if delay_seconds > 0:
        timer.start()
    return timer
