"""One attempt at a Task."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

from google.cloud.batch_v1 import TaskSpec

from saxflow.local.batch.policy import OUT_OF_TIME, PREEMPTED
from saxflow.local.batch.tasks import Attempt, Barrier, Workplace
from saxflow.local.images import ImageRegistry


def attempt(tmp_path, *runnables, **fields):
    place = Workplace(
        0,
        tmp_path,
        tmp_path / "task-0.log",
        {"PATH": os.environ["PATH"]},
        lambda: ImageRegistry({"img": ["echo", "ran"]}),
        {},
    )
    return Attempt(TaskSpec(runnables=list(runnables), **fields), place)


def sh(text, **fields):
    return {"script": {"text": text}, **fields}


def test_first_failure_decides(tmp_path):
    assert attempt(tmp_path, sh("exit 4"), sh("exit 5", always_run=True)).run() == 4


def test_container_entrypoint_and_volumes(tmp_path):
    container = {
        "image_uri": "img",
        "entrypoint": "/bin/sh",
        "commands": ["-c", "echo $SAXFLOW_CONTAINER_MOUNTS"],
        "volumes": ["/a:/b:ro"],
    }
    assert attempt(tmp_path, {"container": container}).run() == 0
    assert (tmp_path / "task-0.log").read_text() == '{"/b": "/a"}\n'


def test_a_deadline_may_be_centuries_away(tmp_path):
    limit = {"seconds": 300_000_000_000}
    text = sh("true", timeout=limit)
    assert attempt(tmp_path, text, max_run_duration=limit).run() == 0


def test_signal_is_told_as_a_shell_does(tmp_path):
    assert attempt(tmp_path, sh("kill -9 $$")).run() == 137


def test_missing_command_is_127(tmp_path):
    assert attempt(tmp_path, sh("#!/no/such/interpreter\n")).run() == 127


def test_end_from_outside_gives_its_code(tmp_path):
    running = attempt(tmp_path, sh("echo up; sleep 600"))
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(running.run()))
    thread.start()
    running.end(PREEMPTED)
    thread.join(60)
    assert codes == [PREEMPTED]


def test_deadline_skips_what_would_always_run(tmp_path):
    limit = {"seconds": 0, "nanos": 100_000_000}
    late = attempt(
        tmp_path, sh("sleep 600"), sh("echo late", always_run=True), max_run_duration=limit
    )
    assert late.run() == OUT_OF_TIME
    assert "late" not in (tmp_path / "task-0.log").read_text()


def test_barrier_opens_when_all_are_there_and_stays_open():
    barrier = Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        assert (
            list(pool.map(lambda task: barrier.wait(task, lambda: False), range(3))) == [True] * 3
        )
    assert barrier.wait(1, lambda: True), "a retried Task finds the others gone on"


def test_who_left_a_barrier_is_waited_for_again():
    barrier, ended = Barrier(2), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        left = pool.submit(barrier.wait, 0, ended.is_set)
        ended.set()
        barrier.wake()
        assert left.result(60) is False
        other = pool.submit(barrier.wait, 1, lambda: False)
        assert barrier.wait(0, lambda: False)
        assert other.result(60)


def test_barrier_that_was_given_up_holds_nobody():
    barrier = Barrier(2)
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(barrier.wait, 0, lambda: False)
        barrier.give_up()
        assert held.result(60) is False
