"""The `saxflow` command: one module per noun, imported only when its command runs.

This package's import must stay under 100 ms, so nothing but click is imported here.
"""

from __future__ import annotations

import importlib
import sys

import click

from saxflow import __version__

COMMANDS = {
    "cell": "saxflow.cli.cell:cell",
    "convert": "saxflow.cli.convert:convert",
    "delete": "saxflow.cli.deployments:delete",
    "demo": "saxflow.cli.demo:demo",
    "deploy": "saxflow.cli.deployments:deploy",
    "events": "saxflow.cli.deployments:events",
    "generate": "saxflow.cli.generate:generate",
    "inspect": "saxflow.cli.inspect:inspect",
    "local": "saxflow.cli.local:local",
    "logs": "saxflow.cli.deployments:logs",
    "plan": "saxflow.cli.manifest:plan",
    "retry": "saxflow.cli.deployments:retry",
    "sax": "saxflow.cli.sax:sax",
    "schema": "saxflow.cli.manifest:schema",
    "status": "saxflow.cli.deployments:status",
    "validate": "saxflow.cli.manifest:validate",
    "verify": "saxflow.cli.verify:verify",
    "watch": "saxflow.cli.deployments:watch",
}
"""Command name -> `module:object`; a command is imported when it is used."""


class LazyGroup(click.Group):
    """A group whose commands are looked up in `COMMANDS` on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, _, name = target.partition(":")
        return getattr(importlib.import_module(module), name)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="saxflow")
def app() -> None:
    """Drop a weights manifest in a bucket, get a Llama served by SAX on Cloud TPU."""


def main() -> None:
    """Run the command line and exit with its documented code."""
    from saxflow.cli.console import run

    sys.exit(run(app, sys.argv[1:]))
