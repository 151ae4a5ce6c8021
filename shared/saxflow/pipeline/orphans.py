"""Find what costs money and belongs to nobody: QueuedResources, Jobs and the files of cells.

A resource is ours by its label and speaks through its id (`sf-<name>-<generation>-a<attempt>`). It
is an orphan when no head refers to that attempt, it is older than a grace period (an Execution may
just have created it), and no live lease is held for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, cast

from saxflow import catalog, names
from saxflow.errors import CloudError, InputError
from saxflow.gcp.objects import Stored, Uri
from saxflow.gcp.translate import translated
from saxflow.head import Attempt, Head
from saxflow.pipeline.services import Services

if TYPE_CHECKING:
    from google.cloud import tpu_v2

CALL_TIMEOUT_SECONDS = 30.0
GRACE_SECONDS = 600.0
"""Scaled like the deadlines, so that the embedded cloud need not wait."""
LABEL = ("managed-by", "saxflow")
_ENDED_JOBS = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "DELETION_IN_PROGRESS"})


Heads = Mapping[str, Head | None]
"""Name -> head; None where there is one that could not be read, so that nothing of it is touched."""


def sweep_orphans(services: Services, heads: Heads) -> list[str]:
    """Delete orphaned QueuedResources, Jobs and files of cells; return a line for each."""
    sweeps = (_sweep_tpus, _sweep_jobs, _sweep_cells)
    return [line for sweep in sweeps for line in sweep(services, heads)]


def delete_queued_resource(services: Services, name: str) -> None:
    """Ask for the deletion of a QueuedResource and its nodes; one that is gone is fine."""
    try:
        with translated("tpu", f"delete {name}"):
            services.tpu.delete_queued_resource(
                request={"name": name, "force": True}, timeout=CALL_TIMEOUT_SECONDS
            )
    except CloudError as error:
        if error.code != 404:
            raise


def is_orphan(identifier: str, heads: Heads, *, now: float) -> bool:
    """Return whether nothing refers to the attempt that an id of ours names."""
    try:
        name, generation, attempt = names.parse_deployment_id(identifier)
    except InputError:
        return False
    if name not in heads:
        return True
    head = heads[name]
    if head is None:
        return False
    if head.lease and head.lease.until > now:
        return False
    wanted = (head.desired, head.attempts) == (generation, attempt) and not _finished(
        head, generation, attempt
    )
    return not wanted and not any(
        _refers(holder, identifier) for holder in (head.serving, head.candidate)
    )


def _finished(head: Head, generation: str, attempt: int) -> bool:
    finished = head.finished
    return finished is not None and (finished.generation, finished.attempt) == (
        generation,
        attempt,
    )


def _refers(holder: Attempt | None, identifier: str) -> bool:
    return holder is not None and holder.queued_resource == identifier


def _sweep_tpus(services: Services, heads: Heads) -> list[str]:
    done: list[str] = []
    for zone in catalog.V5E_ZONES:
        parent = f"projects/{services.settings.project}/locations/{zone}"
        for resource in _queued_resources(services, parent):
            identifier = resource.name.rsplit("/", 1)[-1]
            labels = resource.tpu.node_spec[0].node.labels if resource.tpu.node_spec else {}
            if labels.get(LABEL[0]) != LABEL[1] or _is_young(
                services, _moment(resource.create_time)
            ):
                continue
            if not is_orphan(identifier, heads, now=services.clock()):
                continue
            delete_queued_resource(services, resource.name)
            done.append(f"{identifier}: orphaned QueuedResource in {zone} deleted")
    return done


def _queued_resources(services: Services, parent: str) -> list[tpu_v2.QueuedResource]:
    """Return the QueuedResources of a zone; a zone the project cannot use has none."""
    try:
        with translated("tpu", f"list QueuedResources of {parent}"):
            return list(
                services.tpu.list_queued_resources(parent=parent, timeout=CALL_TIMEOUT_SECONDS)
            )
    except CloudError as error:
        if error.code in (403, 404):
            return []
        raise


def _sweep_jobs(services: Services, heads: Heads) -> list[str]:
    settings = services.settings
    parent = f"projects/{settings.project}/locations/{settings.location}"
    with translated("batch", f"list Jobs of {parent}"):
        jobs = list(services.batch.list_jobs(parent=parent, timeout=CALL_TIMEOUT_SECONDS))
    done: list[str] = []
    for job in jobs:
        identifier = job.name.rsplit("/", 1)[-1]
        ours = job.labels.get(LABEL[0]) == LABEL[1]
        if not ours or job.status.state.name in _ENDED_JOBS:
            continue
        if _is_young(services, _moment(job.create_time)):
            continue
        if is_orphan(identifier, heads, now=services.clock()):
            with translated("batch", f"delete {job.name}"):
                services.batch.delete_job(name=job.name, timeout=CALL_TIMEOUT_SECONDS)
            done.append(f"{identifier}: orphaned Job deleted")
    return done


def _sweep_cells(services: Services, heads: Heads) -> list[str]:
    """Delete what cells left that nothing refers to and nobody has written to of late."""
    found: dict[str, list[Stored]] = {}
    for item in services.objects.list(Uri(services.settings.cells_bucket, "")):
        attempt = "/".join(item.uri.name.split("/")[:2])
        found.setdefault(attempt, []).append(item)
    done: list[str] = []
    for attempt, items in found.items():
        identifier = "sf-" + attempt.replace("/", "-")
        young = any(_is_young(services, item.updated) for item in items)
        if young or not is_orphan(identifier, heads, now=services.clock()):
            continue
        for item in items:
            services.objects.delete(item.uri)
        done.append(f"{identifier}: {len(items)} files of its cell deleted")
    return done


def _moment(created: object) -> datetime | None:
    """Return a timestamp field as the client library hands it out, whatever its stub says."""
    return cast("datetime | None", created)


def _is_young(services: Services, created: datetime | None) -> bool:
    if created is None:
        return True
    grace = GRACE_SECONDS * services.settings.deadline_scale
    return services.clock() - created.timestamp() < grace
