"""The command line: every command of the table exists, and none is imported before its time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from saxflow import __version__
from saxflow.cli import COMMANDS, app, main
from saxflow.cli.console import run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(app, [name, "--help"]) == 0
    assert f"Usage: saxflow {name}" in capsys.readouterr().out


def options(command: click.Command, name: str) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            inner = command.get_command(context, child)
            assert inner
            yield from options(inner, f"{name} {child}")
    for param in command.params:
        if isinstance(param, click.Option):
            yield f"{name} {param.opts[0]}", param


def test_every_option_says_what_it_is_for() -> None:
    assert [name for name, option in options(app, "saxflow") if not option.help] == []


@pytest.mark.parametrize("group", [[], ["cell"], ["local"], ["sax"]], ids=" ".join)
def test_no_command_is_listed_with_half_a_sentence(
    group: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(app, [*group, "--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


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
