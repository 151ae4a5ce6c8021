"""Run commands as whole processes: seconds, peak memory, in pairs with what they are compared to."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

SAXFLOW = (sys.executable, "-c", "from saxflow.cli import main; main()")


@dataclass(frozen=True)
class Run:
    """One finished process."""

    seconds: float
    peak_bytes: int
    stdout: str


def run(command: Sequence[str]) -> Run:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; its last words are shown.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{err.read()[-2000:]}")
        return Run(seconds, usage.ru_maxrss * 1024, out.read())


@dataclass(frozen=True)
class Pair:
    """Runs of one thing and of what it is compared with, in turn."""

    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]

    @property
    def speed(self) -> float:
        """Median over pairs of their seconds / our seconds; above 1 we are faster."""
        return median(b.seconds / a.seconds for a, b in zip(self.ours, self.theirs, strict=True))


def in_turn(
    ours: Sequence[str], theirs: Sequence[str], *, pairs: int, before: Callable[[], None]
) -> Pair:
    """Run two commands alternately; `before` clears what the previous run left."""
    mine: list[Run] = []
    other: list[Run] = []
    for _ in range(pairs):
        for command, runs in ((theirs, other), (ours, mine)):
            before()
            os.sync()
            runs.append(run(command))
    before()
    return Pair(tuple(mine), tuple(other))


def seconds_of(runs: Sequence[Run]) -> float:
    """Return the median duration."""
    return round(median(one.seconds for one in runs), 2)


def peak_mib(runs: Sequence[Run]) -> int:
    """Return the greatest peak in MiB."""
    return round(max(one.peak_bytes for one in runs) / 2**20)
