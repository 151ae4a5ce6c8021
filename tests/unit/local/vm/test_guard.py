"""The guard: nothing outlives the one who asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saxflow.local.vm import guard

COMMAND = [sys.executable, "-I", "-S", guard.__file__]


def start(text, tmp_path):
    """Start a guarded shell; its text must end by printing a line."""
    process = subprocess.Popen(
        [*COMMAND, "/bin/bash", "-c", text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().decode().split()


def gone(pids):
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def code_of(argv):
    """Run a command to its end with the lifeline open; return its exit code and stderr."""
    process = subprocess.Popen([*COMMAND, *argv], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    code = process.wait(60)
    process.stdin.close()
    with process.stderr as stderr:
        return code, stderr.read()


@pytest.mark.parametrize(("text", "code"), [("exit 7", 7), ("kill -9 $$", 137), ("true", 0)])
def test_exit_code_is_the_commands(text, code):
    assert code_of(["/bin/bash", "-c", text]) == (code, b"")


def test_missing_command_is_127():
    assert code_of(["/no/such"]) == (127, b"/no/such: No such file or directory\n")


FAMILY = "setsid sleep 600 & a=$!; (sleep 600 & disown; echo $! >b); echo $$ $a $(<b); "


def test_closing_the_lifeline_kills_daemons_too(tmp_path):
    process, pids = start(FAMILY + "sleep 600", tmp_path)
    process.stdin.close()
    assert process.wait(60) == 137
    process.stdout.close()
    assert gone(pids)


def test_death_of_the_asker_kills_everything(tmp_path):
    asker = (
        "import subprocess, sys\n"
        f"p = subprocess.Popen({COMMAND!r} + ['/bin/bash', '-c', {FAMILY + 'sleep 600'!r}],"
        " stdin=subprocess.PIPE)\n"
        "p.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", asker], stdout=subprocess.PIPE, cwd=tmp_path)
    pids = process.stdout.readline().split()
    process.kill()
    process.stdout.read()  # ends when the last holder of the pipe is gone
    process.stdout.close()
    process.wait()
    assert gone([pid.decode() for pid in pids])


def test_end_of_the_command_ends_what_it_left_behind(tmp_path):
    process, pids = start(FAMILY, tmp_path)
    assert process.wait(60) == 0
    process.stdin.close()
    process.stdout.close()
    assert gone(pids)


def test_sigterm_is_passed_on(tmp_path):
    process, _ = start("trap 'exit 3' TERM; echo up; while true; do sleep 0.01; done", tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
    process.stdin.close()
    process.stdout.close()


def test_descendants_are_read_from_the_process_table():
    child = subprocess.Popen(["sleep", "600"])
    try:
        assert child.pid in guard.descendants(os.getpid())
    finally:
        child.kill()
        child.wait()
