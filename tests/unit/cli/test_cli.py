"""The command line: every command of the table exists, and none is imported before its time."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from saxflow import __version__
from saxflow.cli import COMMANDS, app, main
from saxflow.cli.console import run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, [name, "--help"]) == 0
    assert f"Usage: saxflow {name}" in capsys.readouterr().out


def test_commands_are_listed_in_order() -> None:
    context = click.Context(app)
    assert app.list_commands(context) == sorted(COMMANDS)
    assert app.get_command(context, "poem") is None
    assert run(app, ["poem"]) == 2


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, ["--version"]) == 0
    assert capsys.readouterr().out == f"saxflow, version {__version__}\n"


def test_main_exits_with_the_commands_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["saxflow", "validate", "no-such-file.yaml"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 4
    assert "no-such-file.yaml does not exist" in capsys.readouterr().err


def test_importing_the_command_line_imports_no_command() -> None:
    heavy = ("grpc", "google.cloud.storage", "pydantic", "rich", "saxflow.settings")
    source = "import sys, saxflow.cli; print(*(name for name in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    ).stdout.split()
    assert [name for name in found if name in heavy or name.startswith("saxflow.cli.")] == []
