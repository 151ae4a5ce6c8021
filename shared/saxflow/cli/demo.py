"""`saxflow demo`: the whole journey on this machine, from an uploaded file to generated text."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from saxflow.cli.console import json_option, print_json

DEPLOYMENT_SECONDS = 120.0


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep everything here; default is a temporary directory that is removed at the end.",
)
@json_option
def demo(data_dir: Path | None, as_json: bool) -> int:
    """Take a tiny Llama from an uploaded manifest to generated text.

    On this machine alone, through the real pipeline on an embedded Google Cloud.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _directory(data_dir) as directory:
        return _journey(directory, as_json=as_json)


def _journey(directory: Path, *, as_json: bool) -> int:
    from saxflow.cli.deployments import WATCH_EXIT_CODES
    from saxflow.stack.daemon import exclusive
    from saxflow.stack.laptop import Laptop
    from saxflow.stack.tour import Tour

    click.echo("starting an embedded Google Cloud on loopback ...", err=True)
    with exclusive(directory), Laptop(directory) as laptop:
        os.environ.update(laptop.environ)
        tour = Tour()
        tour.upload()
        click.echo(f"uploaded {tour.manifest_uri}; the rest follows by itself", err=True)
        state = _watch(tour)
        result = tour.result()
    if as_json:
        print_json(result)
    else:
        _show(result)
    return WATCH_EXIT_CODES.get(state, 5)


def _watch(tour: Any) -> str:
    from saxflow.cli.live import Printer

    printer = Printer()
    for event in tour.events(DEPLOYMENT_SECONDS):
        printer.show(event)
    return str(tour.state)


def _show(result: dict[str, Any]) -> None:
    if result["state"] != "serving":
        click.echo(f"\n{result['deployment']} is {result['state']}: {result['failure']}")
        return
    click.echo(f"\n  {result['prompt']} {result['text'].strip()}\n")
    click.echo(f"from manifest to serving in {result['seconds']:.1f} s; events:")
    click.echo("  " + " ▸ ".join(result["events"]))
    click.echo(
        "\nGo on:\n"
        "  saxflow local up                      the same cloud, as long as you like\n"
        '  eval "$(saxflow local env)"           point every client at it\n'
        "  saxflow deploy MANIFEST --wait        your own weights\n"
        "  docs/quickstart.md, docs/deploy.md    the next steps, here and on Google Cloud"
    )


@contextmanager
def _directory(data_dir: Path | None) -> Generator[Path]:
    if data_dir is None:
        with tempfile.TemporaryDirectory(prefix="saxflow-demo-") as temporary:
            yield Path(temporary).resolve()
    else:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir.resolve()
