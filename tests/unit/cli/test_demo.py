"""`saxflow demo` keeps out of a directory that another cloud serves; its journey is tests/e2e."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.stack.daemon import exclusive


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Undo the handler that the command sets for the process that it thinks its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_directory_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "made/on/demand"
    data.mkdir(parents=True)
    with exclusive(data):
        assert run(app, ["demo", "--data-dir", str(data), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["error"] == f"another embedded cloud serves {data}"
