"""`saxflow sax`: administer and ask any SAX cell, Google's or ours, through its sax-root."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from saxflow.cli.console import Seconds, json_option, print_json
from saxflow.cli.reach import require_storage
from saxflow.errors import ProtocolError

if TYPE_CHECKING:
    from saxflow.sax import Cell, Generated, PublishedModel

DEFAULT_CELL = "/sax/test"
GENERATE_SECONDS = 300.0
PATIENCE_SECONDS = 10.0
MAX_TOKENS = 2**24
"""SAX carries numbers as float32, which holds integers exactly up to here."""

Decorated = Callable[..., Any]


class SaxName(click.ParamType[str]):
    """`/sax/CELL` or `/sax/CELL/MODEL`; a word without a slash is a model of the usual cell."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if "/" in value else f"{DEFAULT_CELL}/{value}"


root_option = click.option(
    "--sax-root",
    required=True,
    envvar="SAX_ROOT",
    show_envvar=True,
    metavar="ROOT",
    help="Where the cell's members find each other: gs://bucket/prefix or a directory.",
)
override_option = click.option(
    "--override",
    "overrides",
    multiple=True,
    metavar="KEY=JSON",
    help="Attribute of the model class and its value; may be repeated.",
)
deadline_option = click.option(
    "--deadline",
    "deadline_seconds",
    type=Seconds(),
    default=GENERATE_SECONDS,
    show_default=True,
    help="Seconds for the answer.",
)
extra_option = click.option(
    "--extra",
    "extras",
    multiple=True,
    metavar="KEY:VALUE",
    help="Extra input of the model, a number; may be repeated.",
)


def sampling_options(command: Decorated) -> Decorated:
    """Add the options that `saxflow sax generate` and `saxflow generate` share."""
    for option in (
        json_option,
        deadline_option,
        click.option("--no-stream", is_flag=True, help="Print the text when it is complete."),
        extra_option,
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            help="0 is greedy.  [default: the model's]",
        ),
        click.option(
            "--max-tokens",
            type=click.IntRange(min=1, max=MAX_TOKENS),
            help="Tokens to generate.  [default: the model's]",
        ),
    ):
        command = option(command)
    return command


def extra_inputs(extras: Sequence[str], temperature: float | None) -> dict[str, float]:
    """Return the extra inputs that options ask for.

    Raises:
        click.BadParameter: an --extra is not KEY:VALUE with a number.
    """
    inputs: dict[str, float] = {}
    for extra in extras:
        key, separator, value = extra.rpartition(":")
        try:
            inputs[key] = float(value)
        except ValueError:
            separator = ""
        if not separator or not key:
            raise click.BadParameter(
                f"{extra!r} is not KEY:VALUE with a number", param_hint="--extra"
            )
    if temperature is not None:
        inputs["temperature"] = temperature
    return inputs


@click.group()
def sax() -> None:
    """Administer and ask a SAX cell through its sax-root.

    MODEL_ID is /sax/CELL/MODEL, or MODEL alone in the cell /sax/test.
    """


@sax.command("ls")
@click.argument("name", default=DEFAULT_CELL, type=SaxName())
@root_option
@json_option
def ls(name: str, sax_root: str, *, as_json: bool) -> None:
    """List the models of a cell, or one model.

    NAME is /sax/CELL (default /sax/test), /sax/CELL/MODEL, or MODEL alone.
    """
    model_id = name if name.count("/") == 3 else ""
    with _cell(sax_root, name) as cell:
        found = cell.list(model_id)
    if as_json:
        print_json({"models": [_row(published) for published in found]})
        return
    _print_table(
        ("MODEL", "PATH", "CHECKPOINT", "REPLICAS", "ADDRESSES"),
        [
            (
                published.model.model_id,
                published.model.model_path,
                published.model.checkpoint,
                f"{len(published.addresses)}/{published.model.replicas}",
                " ".join(published.addresses),
            )
            for published in found
        ],
    )


@sax.command("publish")
@click.argument("model_id", type=SaxName())
@click.argument("model_path")
@click.argument("checkpoint")
@click.argument("replicas", type=click.IntRange(min=0), default=1)
@override_option
@root_option
@json_option
def publish(
    model_id: str,
    model_path: str,
    checkpoint: str,
    replicas: int,
    overrides: Sequence[str],
    sax_root: str,
    *,
    as_json: bool,
) -> None:
    """Have a model loaded and served.

    MODEL_PATH is the model class in SAX's registry, CHECKPOINT a step directory, REPLICAS how many
    servers should hold it (default 1).
    """
    from saxflow.sax import Model

    model = Model(model_id, model_path, checkpoint, replicas, _overrides(overrides))
    with _cell(sax_root, model_id) as cell:
        cell.publish(model)
    _say(asdict(model), f"{model_id} is published; loading may take minutes", as_json=as_json)


@sax.command("update")
@click.argument("model_id", type=SaxName())
@click.option("--replicas", type=click.IntRange(min=0), help="How many servers should hold it.")
@override_option
@root_option
@json_option
def update(
    model_id: str,
    replicas: int | None,
    overrides: Sequence[str],
    sax_root: str,
    *,
    as_json: bool,
) -> None:
    """Change a published model's replicas or overrides.

    SAX lets nothing else change; an override that is not named stays.
    """
    with _cell(sax_root, model_id) as cell:
        found = cell.list(model_id)
        if len(found) != 1:
            raise ProtocolError(
                f"the admin lists {len(found)} models under {model_id}; one was expected"
            )
        current = found[0].model
        model = replace(
            current,
            replicas=current.replicas if replicas is None else replicas,
            overrides={**current.overrides, **_overrides(overrides)},
        )
        cell.update(model)
    _say(asdict(model), f"{model_id} is updated", as_json=as_json)


@sax.command("unpublish")
@click.argument("model_id", type=SaxName())
@root_option
@json_option
def unpublish(model_id: str, sax_root: str, *, as_json: bool) -> None:
    """Have a model unloaded and forgotten."""
    with _cell(sax_root, model_id) as cell:
        cell.unpublish(model_id)
    _say({"model_id": model_id}, f"{model_id} is unpublished", as_json=as_json)


@sax.command("stats")
@click.argument("name", default=DEFAULT_CELL, type=SaxName())
@root_option
@json_option
def stats(name: str, sax_root: str, *, as_json: bool) -> None:
    """Count the model servers of a cell, or of one model.

    NAME is /sax/CELL (default /sax/test), /sax/CELL/MODEL, or MODEL alone.
    """
    model_id = name if name.count("/") == 3 else ""
    with _cell(sax_root, name) as cell:
        found = cell.stats(model_id)
    if as_json:
        print_json({"servers": [asdict(stat) for stat in found]})
        return
    rows = [(stat.chip_type, stat.chip_topology, str(stat.replicas)) for stat in found]
    _print_table(("CHIP", "TOPOLOGY", "SERVERS"), rows)


@sax.command("generate")
@click.argument("model_id", type=SaxName())
@click.argument("prompt")
@root_option
@sampling_options
def generate(
    model_id: str,
    prompt: str,
    sax_root: str,
    max_tokens: int | None,
    temperature: float | None,
    extras: Sequence[str],
    deadline_seconds: float,
    *,
    no_stream: bool,
    as_json: bool,
) -> None:
    """Let a model go on with PROMPT."""
    inputs = extra_inputs(extras, temperature)
    if max_tokens is not None:
        inputs["per_example_max_decode_steps"] = float(max_tokens)
    with _cell(sax_root, model_id) as cell:
        model = cell.model(model_id)
        ask = model.generate if no_stream else model.generate_stream
        found = ask(
            prompt, inputs, deadline_seconds=deadline_seconds, patience_seconds=PATIENCE_SECONDS
        )
        samples = found if isinstance(found, tuple) else _show_stream(found, as_json=as_json)
    if as_json:
        print_json({"model": model_id, "samples": [asdict(sample) for sample in samples]})
    elif no_stream:
        for sample in samples:
            click.echo(sample.text)


@sax.command("score")
@click.argument("model_id", type=SaxName())
@click.argument("prefix")
@click.argument("suffixes", nargs=-1, required=True, metavar="SUFFIX...")
@extra_option
@deadline_option
@root_option
@json_option
def score(
    model_id: str,
    prefix: str,
    suffixes: Sequence[str],
    extras: Sequence[str],
    deadline_seconds: float,
    sax_root: str,
    *,
    as_json: bool,
) -> None:
    """Print the log-probability of SUFFIX after PREFIX.

    SAX's language models score one SUFFIX a call.
    """
    with _cell(sax_root, model_id) as cell:
        found = cell.model(model_id).score(
            prefix,
            suffixes,
            extra_inputs(extras, None),
            deadline_seconds=deadline_seconds,
            patience_seconds=PATIENCE_SECONDS,
        )
    if as_json:
        print_json({"model": model_id, "scores": list(found)})
        return
    _print_table(
        ("SCORE", "SUFFIX"),
        [(f"{value:.6f}", suffix) for value, suffix in zip(found, suffixes, strict=False)],
    )


def _show_stream(
    stream: Generator[tuple[Generated, ...]], *, as_json: bool
) -> tuple[Generated, ...]:
    """Print the first sample as it grows; return all of them at the end."""
    from saxflow.serving.emitter import Emitter

    emitter = Emitter()
    samples: tuple[Generated, ...] = ()
    with closing(stream):
        for samples in stream:
            show_piece(emitter.feed(samples[0].text) if samples else "", as_json=as_json)
    show_piece(emitter.finish(samples[0].text) if samples else "", as_json=as_json)
    if not as_json:
        click.echo()
    return samples


def show_piece(piece: str, *, as_json: bool) -> None:
    """Print a piece of a growing text: as it is, or as a JSON line."""
    if piece and as_json:
        print_json({"piece": piece})
    elif piece:
        click.echo(piece, nl=False)


def _cell(sax_root: str, name: str) -> Cell:
    """Open the cell of a cell's or model's name."""
    from saxflow.sax import Cell
    from saxflow.sax.names import CellName, ModelName

    require_storage(sax_root)
    cell = CellName.parse(name) if name.count("/") == 2 else ModelName.parse(name).cell
    return Cell.open(sax_root, str(cell))


def _row(published: PublishedModel) -> dict[str, Any]:
    return {**asdict(published.model), "addresses": list(published.addresses)}


def _overrides(given: Sequence[str]) -> dict[str, str]:
    overrides: dict[str, str] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise click.BadParameter(f"{text!r} is not KEY=JSON", param_hint="--override")
        overrides[key] = value
    return overrides


def _say(value: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        click.echo(sentence)


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns as wide as their longest cell."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
