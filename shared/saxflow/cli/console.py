"""How commands speak: results on stdout, progress and errors on stderr, documented exit codes.

With `--json` a command prints one JSON object on one line as the last line of stdout (JSON lines
for streams); failures then also print `{"error": ..., "exit_code": ...}` there.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from math import isnan
from typing import TYPE_CHECKING, Any

import click

from saxflow.errors import ManifestError, SaxflowError

if TYPE_CHECKING:
    from rich.console import Console

EXIT_CODES = {
    0: "done",
    1: "failed",
    2: "usage",
    3: "bad input",
    4: "not found",
    5: "timed out",
    6: "transient, worth repeating",
}
INTERRUPTED = 130
MIDDLE_WIDTH = 60
"""Columns from which a progress bar shows more than its numbers."""


class Seconds(click.FloatRange):
    """A time to wait, more than none."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON on stdout, one object a line."
)


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; the outermost loop of the command line."""
    as_json = "--json" in arguments
    try:
        result = command.main(args=list(arguments), prog_name="saxflow", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        if as_json:
            print_json({"error": error.format_message(), "exit_code": error.exit_code})
        return error.exit_code
    except SaxflowError as error:
        report(error, as_json=as_json)
        return error.exit_code
    except OSError as error:
        report(
            SaxflowError(f"{error.filename or 'a system call'}: {error.strerror or error}"),
            as_json=as_json,
        )
        return SaxflowError.exit_code
    return result if isinstance(result, int) else 0


def report(error: SaxflowError, *, as_json: bool) -> None:
    """Print an error for a person on stderr and, with --json, for a script on stdout."""
    click.echo(f"saxflow: {error}", err=True)
    if as_json:
        body: dict[str, Any] = {"error": str(error), "exit_code": error.exit_code}
        if isinstance(error, ManifestError):
            body["problems"] = [vars(problem) for problem in error.problems]
        print_json(body)


def row(text: str) -> str:
    """Return the first line of a text, on a terminal cut to its width."""
    first = text.partition("\n")[0]
    width = shutil.get_terminal_size().columns
    return f"{first[: width - 1]}…" if sys.stdout.isatty() and len(first) > width else first


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout.

    It is escaped where a text in it is no UTF-8; numbers that JSON does not have become null.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        value = json.loads(json.dumps(value), parse_constant=lambda _: None)
        text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path or an argument with bytes of another encoding
        text = json.dumps(value)
    click.echo(text)


@contextmanager
def transfer_progress(label: str, total_bytes: int) -> Generator[Callable[[int, str], None]]:
    """Show bytes, rate and ETA on stderr while the block runs.

    Yields a function `(done_bytes, note)`; on a terminal it moves a bar, elsewhere it prints a line
    whenever another tenth is done.
    """
    if sys.stderr.isatty():
        from rich.console import Console

        with progress_bar(Console(stderr=True), label, total_bytes) as update:
            yield update
    else:
        yield _lines(label, total_bytes)


def amounts(done_bytes: float, total_bytes: float, rate: float, eta_seconds: float | None) -> str:
    """Return progress for a person: `1.2 of 13.5 GB, 800.0 MB/s, ETA 15 s`."""
    from rich.filesize import decimal

    done, total = decimal(int(done_bytes)), decimal(int(total_bytes))
    if done.split()[-1] == total.split()[-1]:
        done = done.split()[0]
    eta = "" if eta_seconds is None else f", ETA {eta_seconds:.0f} s"
    return f"{done} of {total}, {decimal(int(rate))}/s{eta}"


@contextmanager
def progress_bar(
    console: Console, label: str, total_bytes: int
) -> Generator[Callable[[int, str], None]]:
    """Move a bar of one line; a narrow terminal keeps the numbers and loses bar, note and label."""
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    def whole() -> Column:
        return Column(no_wrap=True)

    numbers = (
        DownloadColumn(table_column=whole()),
        TransferSpeedColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
    )
    left = TextColumn("{task.description}", table_column=whole())
    bar = BarColumn(bar_width=min(max(console.width - MIDDLE_WIDTH, 5), 30), table_column=whole())
    note = TextColumn(
        "{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    columns = (left, bar, *numbers, note) if console.width >= MIDDLE_WIDTH else numbers
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task(label, total=total_bytes, note="")

        def update(done_bytes: int, note: str = "") -> None:
            progress.update(task, completed=done_bytes, note=note)

        yield update


def _lines(label: str, total_bytes: int) -> Callable[[int, str], None]:
    import time

    started = time.monotonic()
    printed = 0

    def update(done_bytes: int, note: str = "") -> None:
        nonlocal printed
        tenth = 10 * done_bytes // max(total_bytes, 1)
        if tenth <= printed:
            return
        printed = tenth
        seconds = max(time.monotonic() - started, 1e-9)
        rate = done_bytes / seconds
        eta = (total_bytes - done_bytes) / rate if rate else 0.0
        click.echo(
            f"{label}: {amounts(done_bytes, total_bytes, rate, eta)} {note}".rstrip(), err=True
        )

    return update
