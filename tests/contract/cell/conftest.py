"""A whole cell as processes, as `saxflow cell up` runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BUCKETS = {"batch": 4, "input_len": 32, "max_new_tokens": 64}


@dataclass
class Up:
    """A running `saxflow cell up`; `ready` is what it printed."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]

    def members(self) -> dict[str, int]:
        """Return role -> pid of the processes it keeps."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (role := _role(entry, self.process.pid)):
                found[role] = int(entry.name)
        return found


def _role(entry: Path, parent: int) -> str | None:
    try:
        arguments = (entry / "cmdline").read_text().split("\0")
        stat = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    own = "saxflow.cell.containers" in arguments and int(stat[1]) == parent and stat[0] != "Z"
    return arguments[arguments.index("saxflow.cell.containers") + 1] if own else None


@pytest.fixture
def cell_up(
    tmp_path: Path, golden_step: Path, golden_servable: dict[str, Any]
) -> Generator[Callable[..., Up]]:
    """Return a function that starts a cell below the test's directory."""
    started: list[subprocess.Popen[str]] = []

    def start(*flags: str, **servable: Any) -> Up:
        file = tmp_path / f"servable-{len(started)}.json"
        file.write_text(json.dumps({**golden_servable, **BUCKETS, **servable}))
        arguments = ["cell", "up", "--json", f"--servable={file}", f"--checkpoint={golden_step}"]
        roots = [f"--sax-root={tmp_path}/root", f"--fs-root={tmp_path}/state"]
        command = [sys.executable, "-c", "from saxflow.cli import main; main()"]
        process = subprocess.Popen(
            [*command, *arguments, *roots, *flags],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        assert process.stdout is not None
        return Up(process, json.loads(process.stdout.readline()))

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
