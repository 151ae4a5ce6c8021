"""`saxflow local` where nothing runs; a running one is tests/unit/stack/test_daemon.py's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.stack.daemon import exclusive

ENVIRON = {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:1", "SAXFLOW_X": "two words"}


def tell(directory: Path) -> None:
    """Write the file that says that a cloud serves a data directory."""
    (directory / "local.json").write_text(json.dumps({"pid": 1, "environ": ENVIRON}))


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """Return a data directory whose file says that a cloud serves it, though none does."""
    tell(tmp_path)
    return tmp_path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """Return a data directory that a cloud serves."""
    with exclusive(tmp_path):
        tell(tmp_path)
        yield tmp_path


def local(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = run(app, ["local", *arguments])
    return code, capsys.readouterr().out


@pytest.mark.parametrize("place", [".", "none"])
def test_nothing_runs(stale: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--data-dir", str(stale / place))
    code, out = local(capsys, "status", *where, "--json")
    assert (code, json.loads(out)["running"], json.loads(out)["pid"]) == (0, False, None)
    again = f"start it with: saxflow local up {' '.join(where)}\n"
    assert local(capsys, "status", *where)[1].endswith(again)
    code, out = local(capsys, "down", *where, "--json")
    assert (code, json.loads(out)["stopped_pid"]) == (0, None)
    assert "nothing runs" in local(capsys, "down", *where)[1]
    code, out = local(capsys, "env", *where, "--json")
    assert (code, json.loads(out)["exit_code"]) == (4, 4)


def test_what_runs_is_told_for_people_scripts_and_shells(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--data-dir", str(served))
    assert json.loads(local(capsys, "env", *where, "--json")[1]) == ENVIRON
    assert local(capsys, "env", *where)[1].splitlines() == [
        "export STORAGE_EMULATOR_HOST=http://127.0.0.1:1",
        "export SAXFLOW_X='two words'",
    ]
    status = json.loads(local(capsys, "status", *where, "--json")[1])
    assert (status["running"], status["pid"], status["environ"]) == (True, 1, ENVIRON)
    assert "running, pid 1" in local(capsys, "status", *where)[1]
    code, out = local(capsys, "up", *where, "--json")
    assert code == 1
    assert json.loads(out)["error"] == (
        f'pid 1 serves {served} already; use it with: eval "$(saxflow local env --data-dir'
        f' {served})", or stop it with: saxflow local down --data-dir {served}'
    )


def test_the_usual_directory_needs_no_mention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local(capsys, "status")[1].endswith("start it with: saxflow local up\n")
