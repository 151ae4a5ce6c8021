"""Exit codes and error JSON of every class of error; progress where there is no terminal."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from saxflow import errors
from saxflow.cli.console import (
    EXIT_CODES,
    INTERRUPTED,
    amounts,
    json_option,
    print_json,
    progress_bar,
    row,
    run,
    transfer_progress,
)
from saxflow.errors import ManifestError, Problem, SaxflowError

SPECIAL = {
    errors.ManifestError: lambda: ManifestError("m.yaml", [Problem("name", "missing", 1, 2)]),
    errors.SaxError: lambda: errors.SaxError("no such model", code="NOT_FOUND"),
    errors.CloudError: lambda: errors.CloudError("later", service="tpu", code=503, retryable=True),
}


def below(root: type[SaxflowError]) -> Iterator[type[SaxflowError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from below(child)


def failing(error: BaseException) -> click.Command:
    @click.command()
    @json_option
    def command(as_json: bool) -> None:
        raise error

    return command


def test_json_is_printed_as_it_is_read_and_half_a_character_escaped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"text": "été 😀"})
    print_json({"path": "/tmp/\udcff é"})
    assert capsys.readouterr().out == ('{"text": "été 😀"}\n{"path": "/tmp/\\udcff \\u00e9"}\n')


def test_json_has_no_infinities(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"scores": [-math.inf, math.nan, -1.5], "text": "é NaN Infinity"})
    assert capsys.readouterr().out == ('{"scores": [null, null, -1.5], "text": "é NaN Infinity"}\n')


@pytest.mark.parametrize("kind", list(below(SaxflowError)), ids=lambda kind: kind.__name__)
def test_every_error_has_its_exit_code_and_its_json(
    kind: type[SaxflowError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = SPECIAL[kind]() if kind in SPECIAL else kind("the thing is 'x'; mend it")
    assert run(failing(error), ["--json"]) == error.exit_code
    assert error.exit_code in EXIT_CODES
    out, err = capsys.readouterr()
    (line,) = out.splitlines()
    said = json.loads(line)
    assert (said["error"], said["exit_code"]) == (str(error), error.exit_code)
    assert err == f"saxflow: {error}\n"
    assert run(failing(error), []) == error.exit_code
    assert capsys.readouterr().out == ""


def test_the_problems_of_a_manifest_are_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    run(failing(SPECIAL[errors.ManifestError]()), ["--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["problems"] == [{"path": "name", "message": "missing", "line": 1, "column": 2}]


def test_wrong_usage_exits_with_2_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(KeyError()), ["--json", "--none"]) == 2
    out, err = capsys.readouterr()
    assert "Usage:" in err
    said = json.loads(out)
    assert said["exit_code"] == 2
    assert "--none" in said["error"]
    assert run(failing(KeyError()), ["--none"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_is_told(error: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(error), []) == INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_the_machines_refusal_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/checkpoint")
    assert run(failing(full), ["--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"] == "/data/checkpoint: No space left on device"
    assert err == "saxflow: /data/checkpoint: No space left on device\n"


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (4, 4), ("text", 0)])
def test_a_command_may_answer_its_code(answer: object, code: int) -> None:
    command = click.Command("c", callback=lambda: answer)
    assert run(command, []) == code


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"text": "two\nlines, é"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"text": "two\nlines, é"}
    assert "é" in out


def test_progress_prints_a_line_whenever_a_tenth_is_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with transfer_progress("convert", 1000) as update:
        for done in (0, 99, 100, 105, 399, 1000, 1000):
            update(done, f"at {done}")
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition("at ")[2] for line in lines] == ["100", "399", "1000"]
    pattern = r"convert: \d+ of 1\.0 kB, .+/s, ETA \d+ s at 399|convert: 399 .*"
    assert re.match(pattern, lines[1]), lines[1]


@pytest.mark.parametrize("width", [200, 80, 40])
def test_the_bar_is_one_line_with_its_numbers_at_every_width(width: int) -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    with progress_bar(console, "converting", 13_500_000_000) as update:
        update(1_200_000_000, "transformer.x_layers_17.ff_layer.ffn_layer1_gate.linear.w")
    written = console.file
    assert isinstance(written, io.StringIO)
    last = re.split(r"\r(?:\x1b\[2K)?", written.getvalue())[-1]
    assert "\x1b[1A" not in written.getvalue(), "the bar took more than one line"
    assert "1.2/13.5 GB" in last
    assert ("transformer" in last) == (width > 40)


def test_progress_of_nothing_does_not_divide_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    with transfer_progress("verify", 0) as update:
        update(0, "")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((1.2e9, 13.5e9, 8e8, 15.4), "1.2 of 13.5 GB, 800.0 MB/s, ETA 15 s"),
        ((500, 2e6, 0, None), "500 bytes of 2.0 MB, 0 bytes/s"),
    ],
)
def test_amounts_carry_the_unit_that_fits(
    numbers: tuple[float, float, float, float | None], said: str
) -> None:
    assert amounts(*numbers) == said


def test_a_reader_that_goes_away_is_no_crash() -> None:
    source = "import sys; from saxflow.cli import main; sys.argv = ['saxflow', 'schema', 'event']; main()"
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-c", source], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert ended.returncode == 1
    assert ended.stderr == ""


def test_a_row_is_the_first_line_and_on_a_terminal_no_wider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert row("0123456789abc\nmore") == "0123456789abc"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert row("0123456789abc\nmore") == "012345678…"
    assert row("0123456789") == "0123456789"
