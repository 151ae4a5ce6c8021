"""Convert under SIGKILL at random moments; run by test_resume as a process of its own.

It forks, so that one import serves all attempts. Prints one JSON object: how many attempts were
killed, how many ended, and the chunks that a later attempt wrote again although they were finished.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import traceback
from pathlib import Path

from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.convert import Conversion, convert
from saxflow.conversion.journal import read_journals
from saxflow.conversion.report import Spec


def attempt(src: str, dst: str) -> None:
    with open_directory(src) as files, open_directory(dst) as target:
        convert(Conversion(files, read_source(files), target, Spec(mesh=2)))


def killed_after(seconds: float, src: str, dst: str) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            attempt(src, dst)
            status = 0
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
            traceback.print_exc()
        finally:
            os._exit(status)
    timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL))
    timer.start()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    if status and not os.WIFSIGNALED(status):
        raise SystemExit(f"an attempt failed with {os.waitstatus_to_exitcode(status)}")
    return os.WIFSIGNALED(status)


def finished(dst: Path) -> dict[str, int]:
    """Return the modification time of every chunk that the journal calls finished."""
    names = read_journals(dst / ".partial/tasks")
    return {name: (step_of(dst) / name).stat().st_mtime_ns for name in names}


def rewritten(before: dict[str, int], dst: Path) -> list[str]:
    step = step_of(dst)
    return [name for name, time in before.items() if (step / name).stat().st_mtime_ns != time]


def step_of(dst: Path) -> Path:
    """Return the step directory, which is renamed before the journals go."""
    steps = [dst / ".partial/checkpoint_00000000", dst / "checkpoint_00000000"]
    return next(step for step in steps if step.exists())


def main() -> None:
    src, work, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    chance = random.Random(seed)
    killed, ended, again = 0, 0, []
    while killed < kills:
        dst = work / f"dst{ended}"
        before = finished(dst)
        if killed_after(chance.uniform(0.0, 0.04), src, str(dst)):
            killed += 1
        else:
            ended += 1
        if before:
            again += rewritten(before, dst)
    attempt(src, str(work / f"dst{ended}"))
    print(json.dumps({"killed": killed, "ended": ended + 1, "again": again}))


if __name__ == "__main__":
    main()
