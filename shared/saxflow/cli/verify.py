"""`saxflow verify`: re-read a checkpoint and find whatever is not as it was written."""

from __future__ import annotations

from dataclasses import asdict

import click

from saxflow.cli.console import json_option, print_json, transfer_progress
from saxflow.cli.extras import extra
from saxflow.cli.reach import require_storage

SHOWN = 20


@click.command()
@click.argument("dst")
@json_option
def verify(dst: str, *, as_json: bool) -> int:
    """Read a converted checkpoint again, byte by byte.

    DST is where `saxflow convert` wrote, or the step directory in it; local or gs://. Exit code 1
    when anything is missing, damaged or foreign.
    """
    from rich.filesize import decimal

    require_storage(dst)
    with extra("convert"):
        from saxflow.conversion import verify as verification

    with transfer_progress("verifying", verification.bytes_to_read(dst)) as show:
        verdict = verification.verify(dst, lambda done, name: show(done, name.rpartition("lm.")[2]))
    if as_json:
        print_json(
            {
                "checkpoint": verdict.checkpoint,
                "ok": verdict.ok,
                "variables": verdict.variables,
                "chunks": verdict.chunks,
                "bytes": verdict.bytes,
                "problems": [asdict(problem) for problem in verdict.problems],
            }
        )
        return 0 if verdict.ok else 1
    for problem in verdict.problems[:SHOWN]:
        click.echo(f"{'/'.join(filter(None, (problem.variable, problem.chunk)))} {problem.reason}")
    if len(verdict.problems) > SHOWN:
        click.echo(f"... and {len(verdict.problems) - SHOWN} more")
    count = len(verdict.problems)
    state = "is sound" if verdict.ok else f"has {count} problem{'s' if count != 1 else ''}"
    click.echo(
        f"{verdict.checkpoint} {state}: {verdict.variables} variables, {verdict.chunks} chunks,"
        f" {decimal(verdict.bytes)} read"
    )
    return 0 if verdict.ok else 1
