"""`saxflow local up|down|status|env`: the embedded cloud as a background process."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from saxflow.cli.console import json_option, print_json
from saxflow.stack.daemon import DEFAULT_DATA_DIR

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Where the cloud keeps what it stores.",
)


@click.group()
def local() -> None:
    """Run the embedded Google Cloud of this machine."""


@local.command()
@data_dir_option
@click.option("--foreground", is_flag=True, help="Stay attached; stop with Ctrl-C.")
@json_option
def up(data_dir: Path, foreground: bool, as_json: bool) -> None:
    """Start the embedded cloud in the background.

    Returns when it is ready, with saxflow deployed on it.
    """
    from saxflow.stack import daemon

    if foreground:
        daemon.run(data_dir)
        return
    running = daemon.start(data_dir)
    if as_json:
        print_json({"data_dir": str(data_dir), "pid": running.pid, "environ": running.environ})
        return
    click.echo(f"the embedded cloud is up (pid {running.pid}, data in {data_dir})")
    click.echo(f"point your clients at it:  {daemon.evaluate(data_dir)}")


@local.command()
@data_dir_option
@json_option
def down(data_dir: Path, as_json: bool) -> None:
    """Stop the embedded cloud and every process it started.

    What it stored stays in the data directory; Jobs and TPUs do not.
    """
    from saxflow.stack import daemon

    pid = daemon.stop(data_dir)
    if as_json:
        print_json({"data_dir": str(data_dir), "stopped_pid": pid})
    else:
        click.echo(f"stopped pid {pid}" if pid else f"nothing runs in {data_dir}")


@local.command()
@data_dir_option
@json_option
def status(data_dir: Path, as_json: bool) -> None:
    """Say whether the embedded cloud runs, and where."""
    from saxflow.stack import daemon

    running = daemon.find(data_dir)
    if as_json:
        environ = running.environ if running else {}
        pid = running.pid if running else None
        print_json(
            {"data_dir": str(data_dir), "running": bool(running), "pid": pid, "environ": environ}
        )
        return
    if running is None:
        click.echo(f"nothing runs in {data_dir}; start it with: {daemon.command('up', data_dir)}")
        return
    click.echo(f"running, pid {running.pid}")
    for name, value in running.environ.items():
        click.echo(f"  {name}={value}")


@local.command()
@data_dir_option
@json_option
def env(data_dir: Path, as_json: bool) -> None:
    """Print shell exports that point every client at the embedded cloud."""
    from saxflow.stack import daemon

    running = daemon.require(data_dir)
    if as_json:
        print_json(running.environ)
        return
    for name, value in running.environ.items():
        click.echo(f"export {name}={shlex.quote(value)}")
