"""What `saxflow status` and pages show of a deployment: its events folded, its head, its cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from saxflow import events, names
from saxflow.errors import NotFoundError
from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.head import Attempt, Head
from saxflow.pipeline.eventlog import read_event
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.services import Services

SECONDS_PER_HOUR = 3600


def deployment_names(services: Services) -> list[str]:
    """Return every deployment that has a head or a log, in name order."""
    prefix = Uri(services.settings.control_bucket, "deployments/")
    listed = (item.uri.name.split("/")[1] for item in services.objects.list(prefix))
    return sorted(set(listed))


def deployment_status(services: Services, name: str) -> dict[str, Any]:
    """Return {deployment, generation, state, stage, since, progress, endpoint, hourly_cost_usd,
    spent_usd, failure} and what else its events tell.

    Raises:
        NotFoundError: no event and no head speaks of that deployment.
    """
    found = read_head(services, name)
    log = newest_log(services, name)
    if found is None and not log:
        raise NotFoundError(f"deployment {name!r} does not exist; `saxflow status` lists all")
    folded = events.fold(log).to_json()
    head = found[0] if found else Head(name)
    holders = [holder for holder in (head.serving, head.candidate) if holder]
    return {
        **folded,
        "deployment": name,
        "serving": _serving(head, folded["serving"]),
        "endpoint": services.settings.generate_url if head.serving else None,
        "sax_root": head.serving.sax_root if head.serving else None,
        "model": head.serving.model_id if head.serving else None,
        "hourly_cost_usd": round(sum(_hourly(holder) for holder in holders), 4),
        "spent_usd": round(_spent(services, holders), 4),
    }


def newest_log(services: Services, name: str) -> list[Event]:
    """Return the events of the newest generation that has any, in the order of the log."""
    by_generation = event_objects(services, name)
    if not by_generation:
        return []
    newest = max(by_generation, key=int)
    return [read_event(services, uri) for uri in by_generation[newest]]


def event_objects(services: Services, name: str) -> dict[str, list[Uri]]:
    """Return the log objects of a deployment by generation, in the order of the log."""
    prefix = Uri(services.settings.control_bucket, f"deployments/{name}/")
    found: dict[str, list[Uri]] = {}
    for item in services.objects.list(prefix):
        parts = item.uri.name.split("/")
        if len(parts) == 5 and parts[3] == "events":
            found.setdefault(parts[2], []).append(item.uri)
    return found


def new_events(services: Services, name: str, generation: str, *, seen: int) -> list[Event]:
    """Return the events of a generation's log after the first `seen` ones."""
    prefix = Uri(services.settings.control_bucket, names.events_prefix(name, generation))
    uris = [item.uri for item in services.objects.list(prefix)]
    return [read_event(services, uri) for uri in uris[seen:]]


def _serving(head: Head, said: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return what serves: the head decides, the newest log has more to say of its own generation."""
    if head.serving is None:
        return None
    told = {"generation": head.serving.generation, "attempt": head.serving.attempt}
    if said and {key: said[key] for key in told} == told:
        return said
    return {**told, "model": head.serving.model_id, "since": None}


def _hourly(holder: Attempt) -> float:
    value = holder.more.get("hourly_usd")
    return float(value) if isinstance(value, (int, float)) and holder.active_at else 0.0


def _spent(services: Services, holders: Iterable[Attempt]) -> float:
    now = services.clock()
    return sum(
        _hourly(holder) * max(now - holder.active_at, 0) / SECONDS_PER_HOUR for holder in holders
    )
