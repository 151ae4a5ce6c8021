"""A shell that points at an embedded cloud which is gone is told so at once."""

from __future__ import annotations

import json
import socket
import time

import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.cli.reach import require_storage
from saxflow.errors import ConfigurationError


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> str:
    """Point this process at a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        root = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", root)
    monkeypatch.setenv("SAXFLOW_PROJECT", "p")
    for bucket in ("MANIFESTS", "CONTROL", "MODELS", "CELLS"):
        monkeypatch.setenv(f"SAXFLOW_{bucket}_BUCKET", bucket.lower())
    return root


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["watch", "llama"],
        ["generate", "llama", "Hello"],
        ["inspect", "gs://models/llama"],
        ["convert", "gs://models/llama", "out"],
        ["verify", "gs://models/llama"],
        ["sax", "ls", "--sax-root", "gs://cells/llama/sax-root"],
    ],
    ids=" ".join,
)
def test_every_command_that_needs_it_says_so(
    command: list[str], gone: str, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    assert run(app, [*command, "--json"]) == 1
    assert time.monotonic() - began < 10
    error = json.loads(capsys.readouterr().out)["error"]
    assert f"nobody answers at {gone}" in error
    assert "saxflow local up" in error


def test_what_stays_on_this_machine_asks_nobody(gone: str) -> None:
    require_storage("a/directory", "file:///tmp")
    with pytest.raises(ConfigurationError):
        require_storage("a/directory", "gs://models/llama")
    with pytest.raises(ConfigurationError):
        require_storage()


def test_googles_own_cloud_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    require_storage()


def test_a_cloud_that_answers_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"127.0.0.1:{server.getsockname()[1]}")
        require_storage()
