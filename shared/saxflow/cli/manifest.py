"""`saxflow validate`, `saxflow plan`, `saxflow schema`: look before anything is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from saxflow.cli.console import json_option, print_json
from saxflow.cli.reach import require_storage
from saxflow.errors import ConfigurationError, InputError, NotFoundError

if TYPE_CHECKING:
    from saxflow.manifest import Manifest
    from saxflow.plan import Plan
    from saxflow.settings import Settings

UNSTORED_GENERATION = "0"
"""Stands for the generation that the object will get when it is uploaded."""

_manifest_argument = click.argument("file", metavar="MANIFEST", type=click.Path(path_type=Path))


@click.command()
@_manifest_argument
@json_option
def validate(file: Path, as_json: bool) -> None:
    """Check MANIFEST and print every problem with its line and column.

    Needs no cloud. Where an installation is known (SAXFLOW_* variables), its rules count too.
    """
    from saxflow.plan import check_manifest

    settings = _settings_if_any()
    parsed = read_manifest(file, settings)
    if settings is not None:
        check_manifest(parsed, settings)
    if as_json:
        print_json({"manifest": str(file), "ok": True, "name": parsed.name, "problems": []})
    else:
        click.echo(f"{file}: {parsed.name} is valid")


@click.command()
@_manifest_argument
@json_option
def plan(file: Path, as_json: bool) -> None:
    """Print everything that deploying MANIFEST would create.

    Ids, bodies, memory and cost; touches nothing. The weights are listed, params.json and
    tokenizer.model read; no tensor data.
    """
    from saxflow.settings import load_settings

    settings = load_settings()
    require_storage()
    compiled = _compile(read_manifest(file, settings), settings, file.name)
    if as_json:
        print_json(compiled.describe())
    else:
        click.echo(_rendered(compiled))


@click.command()
@click.argument("kind", type=click.Choice(["manifest", "event"]))
@json_option
def schema(kind: str, as_json: bool) -> None:
    """Print the JSON Schema (2020-12) of a manifest or of an event."""
    from saxflow import events, manifest

    document = manifest.json_schema() if kind == "manifest" else events.json_schema()
    if as_json:
        print_json(document)
    else:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def read_manifest(file: Path, settings: Settings | None) -> Manifest:
    """Read a manifest from a file.

    Raises:
        NotFoundError: there is no such file.
        InputError: it cannot be read.
        ManifestError: it has problems.
    """
    from saxflow import manifest

    allow = settings is not None and settings.allow_file_sources
    return manifest.parse(read_file(file), source_name=str(file), allow_file_sources=allow)


def read_file(file: Path) -> bytes:
    """Return the bytes of a manifest's file, no more of them than show that it is too large.

    Raises:
        NotFoundError: there is no such file.
        InputError: it cannot be read.
    """
    from saxflow.manifest import MAX_BYTES

    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{file} does not exist") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _settings_if_any() -> Settings | None:
    from saxflow.settings import load_settings

    try:
        return load_settings()
    except ConfigurationError:
        return None


def _compile(parsed: Manifest, settings: Settings, object_name: str) -> Plan:
    from saxflow.gcp.clients import storage_client
    from saxflow.gcp.objects import Objects
    from saxflow.pipeline.weight_facts import gather
    from saxflow.plan import check_manifest, compile_plan

    check_manifest(parsed, settings)
    return compile_plan(
        parsed,
        settings,
        generation=UNSTORED_GENERATION,
        attempt=1,
        facts=gather(Objects(storage_client(settings.project)), parsed),
        manifest_uri=f"gs://{settings.manifests_bucket}/{object_name}",
    )


def _rendered(compiled: Plan) -> str:
    from rich.filesize import decimal

    core: dict[str, Any] = compiled.core
    checkpoint, tpu = core["checkpoint"], core["tpu"]
    tasks = checkpoint["tasks"]
    described = compiled.describe()
    lines = [
        f"{compiled.id}  (generation 0 stands for the one the upload will get)",
        f"model        {core['model']['id']}  {core['model']['size'] or 'no catalog size'}"
        f" {core['model']['dtype']}",
        f"class        {compiled.decision.model_path}",
        f"checkpoint   {checkpoint['step']}",
        f"conversion   {decimal(checkpoint['bytes'])} in {tasks} Task{'' if tasks == 1 else 's'}",
        f"tpu          {tpu['accelerator_type']} in {', '.join(tpu['zones'])}",
        f"cost         {tpu['hourly_usd']:.2f} USD an hour, {_lifetime(core)}",
        "memory of the fullest chip",
        *(
            f"  {name:<12}{decimal(size):>10}"
            for name, size in described["hbm_bytes_per_chip"].items()
        ),
        *(f"note: {note}" for note in described["notes"]),
    ]
    for part in ("job", "tpu", "publish", "servable"):
        lines += [f"{part}.json", json.dumps(described[part], indent=2)]
    return "\n".join(lines)


def _lifetime(core: dict[str, Any]) -> str:
    seconds = core["lifecycle"]["ttl_seconds"]
    if seconds is None:
        return "until the manifest is deleted"
    total = seconds / 3600 * core["tpu"]["hourly_usd"]
    return f"torn down after {seconds / 3600:g} h, at most {total:.2f} USD"
