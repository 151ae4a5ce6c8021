"""`saxflow inspect`: what a source of weights is and what converting it would take."""

from __future__ import annotations

import click

from saxflow.cli.console import json_option
from saxflow.cli.convert import dtype_option, memory_option, mesh_option, show_estimate
from saxflow.cli.extras import extra
from saxflow.cli.reach import require_storage


@click.command()
@click.argument("src")
@dtype_option
@mesh_option
@memory_option
@json_option
def inspect(src: str, dtype: str, mesh: int | None, max_memory: int, *, as_json: bool) -> None:
    """Show the weights in SRC and what converting them takes.

    SRC is a directory, local or gs://. No tensor data is read.
    """
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
