"""`saxflow convert`: turn Llama weights into a checkpoint that SAX serves."""

from __future__ import annotations

import re
import time
from math import inf
from typing import TYPE_CHECKING

import click

from saxflow.cli.console import json_option, print_json, transfer_progress
from saxflow.cli.extras import extra
from saxflow.cli.reach import require_storage

if TYPE_CHECKING:
    from saxflow.conversion.convert import Conversion, Outcome
    from saxflow.conversion.estimate import Estimate

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Bytes(click.ParamType[int]):
    """A size such as `512MiB`, `2GB` or plain bytes."""

    name = "bytes"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(k|m|g|ki|mi|gi)?b?", value.strip().lower())
        size = float(match[1]) * _UNITS[match[2] or ""] if match else inf
        if size == inf:
            self.fail(f"{value!r} is no size; write for example 512MiB or 2GiB", param, ctx)
        return int(size)


dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16"]),
    default="float16",
    show_default=True,
    help="Stored type; bfloat16 loses nothing of bfloat16 weights.",
)
mesh_option = click.option(
    "--mesh",
    type=click.IntRange(1, 4096),
    help="Chips that will serve.  [default: the catalog's for this size, else 1]",
)
memory_option = click.option(
    "--max-memory",
    type=Bytes(),
    default="1GiB",
    show_default=True,
    help="Most memory to use, for example 512MiB.",
)


@click.command()
@click.argument("src")
@click.argument("dst")
@dtype_option
@mesh_option
@memory_option
@click.option(
    "--task-index",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Which of the Tasks this is, from 0.",
)
@click.option(
    "--task-count",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many Tasks share the work; run each index once.",
)
@click.option(
    "--compressor",
    type=click.Choice(["none", "zstd", "blosc"]),
    default="none",
    show_default=True,
    help="Of the chunks; none is fastest.",
)
@click.option("--clamp", is_flag=True, help="Cut values beyond the dtype's range.")
@click.option("--overwrite", is_flag=True, help="Replace what another conversion left in DST.")
@click.option("--check-digests", is_flag=True, help="Compare SRC with its checklist.chk first.")
@click.option("--dry-run", is_flag=True, help="Print the plan; read no tensor data.")
@json_option
def convert(
    src: str,
    dst: str,
    dtype: str,
    mesh: int | None,
    max_memory: int,
    task_index: int,
    task_count: int,
    compressor: str,
    *,
    clamp: bool,
    overwrite: bool,
    check_digests: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Convert the weights in SRC to DST/checkpoint_00000000 for SAX.

    SRC (Meta's .pth with params.json, or safetensors with config.json) and DST are directories,
    local or gs://. A stopped run resumes where it was; an unchanged conversion is reused.
    """
    started = time.monotonic()
    if task_index >= task_count:
        raise click.UsageError(f"--task-index {task_index} must be below --task-count {task_count}")
    require_storage(src, dst)
    with extra("convert"):
        from saxflow.catalog import default_chips
        from saxflow.checkpoint.opening import open_directory
        from saxflow.checkpoint.source import read_source
        from saxflow.conversion import digests, estimate
        from saxflow.conversion.convert import Conversion
        from saxflow.conversion.report import Spec
        from saxflow.conversion.task import Share

    with open_directory(src) as files, open_directory(dst) as target:
        source = read_source(files)
        spec = Spec(dtype, mesh or default_chips(source.dimensions), compressor, clamp)
        share = Share(task_index, task_count)
        work = Conversion(files, source, target, spec, share, max_memory, overwrite)
        if dry_run:
            show_estimate(estimate.estimate(work), as_json=as_json)
            return
        if check_digests:
            digests.check_digests(files)
        outcome = _run(work)
        _show(work, outcome, time.monotonic() - started, as_json=as_json)


def _run(work: Conversion) -> Outcome:
    from saxflow.conversion.convert import convert
    from saxflow.conversion.task import Progress, owned_bytes

    with transfer_progress("converting", owned_bytes(work.source, work.spec, work.share)) as show:

        def update(progress: Progress) -> None:
            show(progress.bytes_done, progress.variable.rpartition("lm.")[2])

        return convert(work, update)


def _show(work: Conversion, outcome: Outcome, seconds: float, *, as_json: bool) -> None:
    from rich.filesize import decimal

    from saxflow.conversion.task import peak_rss_bytes
    from saxflow.layout import pax_variables

    result = outcome.result
    variables = len(pax_variables(work.source.dimensions))
    written = result.bytes_written if result else 0
    peak = peak_rss_bytes()
    if as_json:
        print_json(
            {
                "checkpoint": outcome.checkpoint,
                "variables": variables,
                "bytes_read": result.bytes_read if result else 0,
                "bytes_written": written,
                "seconds": round(seconds, 3),
                "peak_rss_bytes": peak,
                "reused": outcome.reused,
                "resumed_bytes": result.bytes_resumed if result else 0,
            }
        )
    elif outcome.reused:
        click.echo(f"{outcome.checkpoint} is up to date ({seconds:.1f} s, no weights read)")
    else:
        rest = "" if outcome.complete else "; not committed: other Tasks have not ended"
        click.echo(
            f"{outcome.checkpoint}: {variables} variables, {decimal(written)} in"
            f" {seconds:.1f} s ({decimal(int(written / max(seconds, 1e-9)))}/s),"
            f" peak memory {peak / 2**20:.0f} MiB{rest}"
        )


def show_estimate(plan: Estimate, *, as_json: bool) -> None:
    """Print what a conversion would take."""
    if as_json:
        print_json(plan.as_dict())
        return
    for line in plan.lines():
        click.echo(line)
