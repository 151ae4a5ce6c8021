"""`saxflow inspect`: what a source of weights is and what converting it would take."""

from __future__ import annotations

import click

from saxflow.cli.console import json_option
from saxflow.cli.convert import Bytes, show_estimate
from saxflow.cli.extras import extra
from saxflow.cli.reach import require_storage


@click.command()
@click.argument("src")
@click.option("--dtype", type=click.Choice(["float16", "bfloat16"]), default="float16")
@click.option("--mesh", type=click.IntRange(1, 4096), help="Chips of the serving mesh.")
@click.option("--max-memory", type=Bytes(), default="1GiB", show_default=True)
@json_option
def inspect(src: str, dtype: str, mesh: int | None, max_memory: int, *, as_json: bool) -> None:
    """Show the weights in SRC, local or gs://, and the plan for them; read no tensor data."""
    require_storage(src)
    with extra("convert"):
        from saxflow.catalog import default_chips
        from saxflow.checkpoint.opening import open_directory
        from saxflow.checkpoint.source import read_source
        from saxflow.conversion.convert import Conversion
        from saxflow.conversion.estimate import estimate
        from saxflow.conversion.report import Spec

    with open_directory(src) as files:
        source = read_source(files)
        spec = Spec(dtype, mesh or default_chips(source.dimensions))
        work = Conversion(files, source, files, spec, max_memory=max_memory)
        show_estimate(estimate(work), as_json=as_json)
