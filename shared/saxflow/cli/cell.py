"""`saxflow cell`: a SAX cell on this machine, without the pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from saxflow.cli import console

if TYPE_CHECKING:
    from saxflow.cell.up import UpOptions


@click.group()
def cell() -> None:
    """Run a SAX cell on this machine, without the pipeline.

    An admin server and a model server that speak SAX's protocol; Llama in JAX.
    """


@cell.command()
@click.option(
    "--checkpoint", required=True, metavar="DIR", help="Step directory: checkpoint_<8 digits>."
)
@click.option("--servable", required=True, metavar="FILE", help="servable.json of the model.")
@click.option(
    "--sax-root", required=True, metavar="DIR", help="Directory or gs:// URI of the cell's root."
)
@click.option(
    "--fs-root", metavar="DIR", help="Where the admin keeps its state.  [default: SAX_ROOT-fs]"
)
@click.option("--cell", "name", default="/sax/test", show_default=True, help="Name of the cell.")
@click.option("--model", metavar="NAME", help="Publish the checkpoint under this name.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65534),
    metavar="PORT",
    default=0,
    show_default="free ones",
    help="Port of the admin, or of the server with --server-only; the server takes the next one.",
)
@click.option("--admin-only", is_flag=True, help="Start no model server.")
@click.option("--server-only", is_flag=True, help="Join the cell's running admin.")
@click.option("--jax-cache-dir", metavar="DIR", help="Keep compiled programs here.")
@console.json_option
def up(name: str, as_json: bool, **options: str | int | bool | None) -> None:
    """Serve a checkpoint until Ctrl-C.

    Prints where the cell is once it is ready: the admin answers, the server has joined and, with
    --model, the model is loaded.
    """
    from saxflow.cell.up import serve

    serve(_options(name, **options), lambda ready: _show(ready, as_json=as_json))


def _options(name: str, **options: str | int | bool | None) -> UpOptions:
    from saxflow.cell.up import UpOptions

    if options["admin_only"] and options["server_only"]:
        raise click.UsageError("--admin-only and --server-only exclude each other")
    return UpOptions.parse(cell=name, **options)


def _show(ready: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        console.print_json(ready)
        return
    click.echo(f"cell {ready['cell']} below {ready['sax_root']} is ready")
    for key in ("admin", "servers", "model", "checkpoint"):
        value = ready[key]
        if value:
            text = " ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"  {key:<10} {text}")
    click.echo("Ctrl-C ends it")
