"""`saxflow demo` as a newcomer runs it: a process that ends well, also when it is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "saxflow.cli", "demo"]
SECONDS = 180


def descendants(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    family, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in family} - family
        grown = bool(more)
        family |= more
    return family - {pid}


def demo(directory: Path) -> tuple[dict[str, Any], str]:
    """Return the result and what was said on the way."""
    run = subprocess.run(
        [*COMMAND, "--json", "--data-dir", str(directory)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), run.stderr


def test_the_demo_ends_in_generated_text(tmp_path: Path) -> None:
    result, said = demo(tmp_path / "data")
    assert result["deployment"] == "tiny-llama"
    assert result["state"] == "serving"
    assert "shows ships where the land is" in result["text"]
    assert result["events"][0] == "manifest.accepted"
    assert result["events"][-1] == "model.serving"
    assert result["checkpoint"].endswith("/checkpoint_00000000")
    assert result["seconds"] > 0
    assert "conversion.finished" in said

    # a second run on the same data converts nothing
    again, _ = demo(tmp_path / "data")
    assert "conversion.reused" in again["events"]


def test_an_interrupted_demo_leaves_no_process_and_no_directory(tmp_path: Path) -> None:
    child = subprocess.Popen(
        COMMAND,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert child.stderr
    for line in child.stderr:
        if "tpu.active" in line:
            break
    family = descendants(child.pid)
    assert family
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    assert list(tmp_path.iterdir()) == []
