"""`saxflow deploy|status|watch|events|logs|retry|delete`: what is done with deployments by name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from saxflow.cli.console import Seconds, json_option, print_json, row
from saxflow.cli.reach import require_storage
from saxflow.errors import DeadlineError, InputError, NotFoundError

if TYPE_CHECKING:
    from saxflow.events import Event
    from saxflow.gcp.objects import Uri
    from saxflow.pipeline.services import Services

WATCH_EXIT_CODES = {
    "serving": 0,
    "failed": 1,
    "superseded": 1,
    "rejected": 3,
    "deleted": 4,
}
"""State a watched attempt ended in -> exit code."""

timeout_option = click.option(
    "--timeout",
    "timeout_seconds",
    type=Seconds(),
    metavar="SECONDS",
    help="Give up after this time.  [default: never]",
)


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--wait", is_flag=True, help="Follow the events until the model serves.")
@timeout_option
@json_option
def deploy(manifest: Path, wait: bool, timeout_seconds: float | None, as_json: bool) -> int:
    """Upload MANIFEST to the manifests bucket, which deploys it.

    With --wait, the exit code is that of `saxflow watch`.
    """
    from saxflow import manifest as manifests
    from saxflow import names
    from saxflow.cli.manifest import read_file
    from saxflow.gcp.objects import Uri

    services = _services()
    if not names.is_manifest(manifest.name):
        suffixes = ", ".join(names.MANIFEST_SUFFIXES)
        raise InputError(f"{manifest} would be left alone; name a manifest {suffixes}")
    data = read_file(manifest)
    parsed = manifests.parse(data, source_name=manifest.name)
    uri = Uri(services.settings.manifests_bucket, manifest.name)
    content_type = "application/json" if manifest.suffix == ".json" else "application/yaml"
    generation = services.objects.write(uri, data, if_generation=None, content_type=content_type)
    click.echo(f"{uri} is uploaded, generation {generation}", err=True)
    if wait:
        return _follow(
            services, parsed.name, str(int(generation or 0) - 1), timeout_seconds, as_json
        )
    if as_json:
        print_json({"deployment": parsed.name, "generation": generation, "manifest": str(uri)})
    else:
        click.echo(f"follow it with: saxflow watch {parsed.name}")
    return 0


@click.command()
@click.argument("name", required=False)
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Show deployment NAME, or all of them."""
    from saxflow.pipeline.status import deployment_names, deployment_status

    services = _services()
    if name:
        found = deployment_status(services, name)
        if as_json:
            print_json(found)
        else:
            _describe(found)
        return
    every = [deployment_status(services, each) for each in deployment_names(services)]
    if as_json:
        print_json({"deployments": every})
        return
    for each in every:
        cost = f"{each['hourly_cost_usd']:.2f} USD/h"
        click.echo(
            row(f"{each['deployment']:<30} {each['state']:<12} {cost:>12}  {each['message']}")
        )
    if not every:
        click.echo("no deployments; upload a manifest with: saxflow deploy MANIFEST", err=True)


@click.command()
@click.argument("name")
@timeout_option
@json_option
def watch(name: str, timeout_seconds: float | None, as_json: bool) -> int:
    """Follow the events of deployment NAME until its attempt ends.

    Exit code 0 when it serves, 1 when it failed or was superseded, 3 when the manifest was
    rejected, 4 when it was deleted, 5 when --timeout is over.
    """
    services = _services()
    if not _manifests(services, name):  # an upload may not have been heard of yet
        _require(services, name)
    return _follow(services, name, "0", timeout_seconds, as_json)


@click.command()
@click.argument("name")
@json_option
def events(name: str, as_json: bool) -> None:
    """Print the log of events of deployment NAME, newest generation."""
    from saxflow.cli.live import clock
    from saxflow.pipeline.status import newest_log

    services = _services()
    _require(services, name)
    for event in newest_log(services, name):
        if as_json:
            print_json(event.to_json())
        else:
            click.echo(f"{clock(event.time)}  {event.name:<24} {event.data['message']}")


@click.command()
@click.argument("name")
@json_option
def logs(name: str, as_json: bool) -> None:
    """Print what Tasks and TPU workers of deployment NAME say."""
    from saxflow.pipeline.worker_logs import worker_logs

    services = _services()
    _require(services, name)
    for entry in worker_logs(services, name):
        if as_json:
            print_json(entry)
        else:
            click.echo(f"--- {entry['from']}: {entry['state']}")
            click.echo(str(entry["log"]).rstrip())


@click.command()
@click.argument("name")
@json_option
def retry(name: str, as_json: bool) -> None:
    """Start another attempt at the same manifest of deployment NAME."""
    from saxflow.pipeline import accept

    reference = accept.retry(_services(), name)
    if as_json:
        print_json({"deployment": name, "attempt": reference.attempt, "plan": reference.plan})
    else:
        click.echo(f"attempt {reference.attempt} of {name} is under way: saxflow watch {name}")


@click.command()
@click.argument("name")
@json_option
def delete(name: str, as_json: bool) -> None:
    """Delete the manifest of NAME, which takes everything down."""
    from saxflow.gcp.objects import Uri
    from saxflow.pipeline.heads import read_head

    services = _services()
    found = read_head(services, name)
    source = found[0].source if found else None
    accepted = [Uri(source.bucket, source.object)] if source else []
    uris = dict.fromkeys([*accepted, *_manifests(services, name)])
    if not uris:
        raise NotFoundError(f"deployment {name!r} has no manifest; `saxflow status` lists all")
    existed = {uri: services.objects.delete(uri) for uri in uris}
    if as_json:
        print_json({"deployment": name, "deleted": any(existed.values())})
        return
    for uri, there in existed.items():
        click.echo(f"{uri} is {'deleted' if there else 'gone already'}")


def _services() -> Services:
    from saxflow.pipeline.services import services

    require_storage()
    return services()


def _manifests(services: Services, name: str) -> list[Uri]:
    """Return the live manifests of a name, accepted or not."""
    from saxflow import names
    from saxflow.gcp.objects import Uri

    if not names.is_deployment_name(name):
        return []
    bucket = services.settings.manifests_bucket
    uris = [Uri(bucket, f"{name}{suffix}") for suffix in names.MANIFEST_SUFFIXES]
    return [uri for uri in uris if services.objects.stat(uri)]


def _require(services: Services, name: str) -> None:
    from saxflow.pipeline.status import deployment_status

    deployment_status(services, name)


def _follow(
    services: Services, name: str, after: str, timeout_seconds: float | None, as_json: bool
) -> int:
    from saxflow.cli.live import Printer
    from saxflow.events import fold
    from saxflow.pipeline.follow import follow

    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    printer = Printer()
    seen: list[Event] = []
    for event in follow(services, name, after=after, deadline=deadline):
        seen.append(event)
        if as_json:
            print_json(event.to_json())
        else:
            printer.show(event)
    state = fold(seen).state
    if not seen:
        raise DeadlineError(
            f"no event of {name} came in {timeout_seconds:g} s; was on_manifest deployed?"
        )
    if state not in WATCH_EXIT_CODES:
        raise DeadlineError(f"{name} was still {state} after {timeout_seconds:g} s")
    return WATCH_EXIT_CODES[state]


def _describe(found: dict[str, Any]) -> None:
    from saxflow.cli.live import clock

    serving = found["serving"] if found["state"] != "serving" else None
    rows = {
        "deployment": found["deployment"],
        "state": f"{found['state']} since {clock(found['since'])}"
        if found["since"]
        else found["state"],
        "stage": f"{found['stage']}: {found['message']}",
        "generation": f"{found['generation']}, attempt {found['attempt']}",
        "serving": serving and f"generation {serving['generation']}, attempt {serving['attempt']}",
        "model": found["model"],
        "endpoint": found["endpoint"],
        "cost": f"{found['hourly_cost_usd']:.2f} USD/h, {found['spent_usd']:.2f} USD so far",
        "failure": (found["failure"] or {}).get("reason"),
    }
    for label, value in rows.items():
        if value:
            click.echo(f"{label:<11} {value}")
