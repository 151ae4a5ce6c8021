"""Guarded processes."""

from __future__ import annotations

import os
import subprocess

import pytest

from saxflow.local.vm.processes import GuardedProcess

ENV = {"PATH": os.environ["PATH"], "A": "1"}


def test_output_is_appended_and_environment_complete(tmp_path):
    log = tmp_path / "deep/log"
    for _ in range(2):
        process = GuardedProcess(
            ["/bin/sh", "-c", "echo $A; pwd"], env=ENV, output=log, cwd=tmp_path
        )
        assert process.wait() == 0
    assert log.read_text().split() == ["1", str(tmp_path)] * 2


def test_terminate_lets_it_end_and_kill_does_not(tmp_path):
    polite = GuardedProcess(["sleep", "600"], env=ENV, output=tmp_path / "log")
    with pytest.raises(subprocess.TimeoutExpired):
        polite.wait(0.2)
    polite.terminate()
    assert polite.wait() == 143
    killed = GuardedProcess(["sleep", "600"], env=ENV, output=tmp_path / "log")
    assert killed.running()
    assert killed.pid > 0
    killed.kill()
    assert not killed.running()
    assert killed.wait() == 137
    killed.terminate()
