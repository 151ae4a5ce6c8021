"""functions/generate as it is uploaded: staged, started by its Procfile, probed, stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from saxflow.local.children import reserved_port
from saxflow.stack.staging import stage

ROOT = Path(__file__).parents[2]
NO_STORAGE = "http://127.0.0.1:9"


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return stage("generate", tmp_path / "staged")


class Function:
    """The staged function as a process."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self._held = reserved_port()
        self.port: int = self._held.getsockname()[1]
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        command = (directory / "Procfile").read_text().removeprefix("web: ").split()
        self.process = subprocess.Popen(
            [sys.executable, *command[1:]],
            cwd=directory,
            env={**inherited, "PORT": str(self.port), **environ},
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_up(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "Uvicorn running" in line:
                return
        raise AssertionError("it did not start")

    def ask(self, path: str, **options: Any) -> httpx.Response:
        with httpx.Client(trust_env=False) as client:
            return client.get(f"http://127.0.0.1:{self.port}{path}", timeout=60, **options)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self._held.close()


@pytest.fixture
def start(staged: Path, smallest_installation: dict[str, str]) -> Generator[Any]:
    settings = {**smallest_installation, "STORAGE_EMULATOR_HOST": NO_STORAGE}
    started: list[Function] = []

    def run(**environ: str) -> Function:
        started.append(Function(staged, **settings | environ))
        return started[-1]

    yield run
    for function in started:
        function.close()


def test_it_runs_from_what_is_staged_and_stops_at_sigterm(start: Any) -> None:
    function = start()
    function.wait_until_up()
    assert function.ask("/healthz").json() == {"status": "ok"}
    function.process.send_signal(signal.SIGTERM)
    assert function.process.wait(60) in (0, -signal.SIGTERM)


def test_it_does_not_start_where_anybody_could_ask(start: Any) -> None:
    function = start(SAXFLOW_GENERATE_HOST="0.0.0.0")
    _, errors = function.process.communicate(timeout=60)
    assert function.process.returncode == 1
    assert "set SAXFLOW_API_KEYS" in errors


def test_on_cloud_run_it_listens_for_all_and_leaves_the_door_to_iam(start: Any) -> None:
    function = start(K_SERVICE="generate")
    function.wait_until_up()
    assert function.ask("/metrics").status_code == 200


def test_keys_open_any_address(start: Any) -> None:
    function = start(SAXFLOW_GENERATE_HOST="0.0.0.0", SAXFLOW_API_KEYS="one")
    function.wait_until_up()
    assert function.ask("/metrics").status_code == 401
    assert function.ask("/metrics", headers={"Authorization": "Bearer one"}).status_code == 200


def test_a_missing_setting_is_named(start: Any) -> None:
    function = start(SAXFLOW_CONTROL_BUCKET="")
    _, errors = function.process.communicate(timeout=60)
    assert function.process.returncode != 0
    assert "SAXFLOW_CONTROL_BUCKET not set" in errors


def test_requirements_are_pinned_as_everywhere() -> None:
    pins = set((ROOT / "constraints.txt").read_text().split())
    wanted = (ROOT / "functions/generate/requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in wanted)
    assert set(wanted) <= pins
