"""A manifest was finalized: validate, plan, move the head, start one Execution.

Eventarc delivers at least once and in any order, and the function may die at any line. Every step
is therefore a create-only write or a compare-and-swap, ordered so that a redelivery finishes what a
crash left: plan before head (a rejected manifest never moves the head), head before Execution, and
the Execution takes the lease itself.
"""

from __future__ import annotations

from saxflow import head as heads
from saxflow import manifest, names, plan
from saxflow.errors import InputError, ManifestError, NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.head import Head, Refusal, Source
from saxflow.manifest import Manifest
from saxflow.pipeline import executions
from saxflow.pipeline.eventlog import announce
from saxflow.pipeline.heads import change_head, read_head
from saxflow.pipeline.logs import log
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.plans import PlanReference, find_plan, store_plan
from saxflow.pipeline.services import Services
from saxflow.pipeline.weight_facts import gather


def accept(services: Services, event: Notification) -> None:
    """Act on a finalized object of the manifests bucket.

    What the user got wrong ends in `manifest.rejected` and a normal return, so that the event is
    not delivered again.

    Raises:
        CloudError, BusyError: trouble that a redelivery may cure.
    """
    if not names.is_manifest(event.name):
        log("INFO", f"{event.name} is no *.yaml, *.yml or *.json; left alone", bucket=event.bucket)
        return
    name = names.stem_of(event.name)
    if not names.is_deployment_name(name):
        problem = f"the file's stem {name!r} is no deployment name; use {names.NAME_RULE}"
        _reject(services, names.NO_DEPLOYMENT, event, InputError(f"{event.name}: {problem}"))
        return
    found = read_head(services, name)
    refusal = _refusal(found[0], event) if found else None
    if refusal and refusal.code != "repeated":
        log("INFO", refusal.message, deployment=name)
        return
    try:
        _deploy(services, name, event)
    except NotFoundError as error:
        if services.objects.stat(_uri(event), generation=event.generation):
            raise
        log("INFO", f"{error}; a newer event will tell", deployment=name)
    except InputError as error:
        _reject(services, name, event, error)


def retry(services: Services, name: str) -> PlanReference:
    """Start another attempt at the generation that is wanted.

    Raises:
        NotFoundError: there is no such deployment, or its manifest is gone.
        InputError: the manifest no longer leads to a plan.
    """
    found = read_head(services, name)
    if found is None or found[0].source is None or not found[0].wanted:
        raise NotFoundError(
            f"deployment {name!r} has no accepted manifest to try again; upload one:"
            " saxflow deploy MANIFEST"
        )
    desired = found[0].desired
    raised = change_head(services, name, lambda current: heads.retry(current, desired))
    if isinstance(raised, Refusal):
        raise NotFoundError(raised.message)
    return resume(services, raised)


def resume(services: Services, head: Head) -> PlanReference:
    """Plan and start the attempt that the head wants, when a crash prevented it.

    Raises:
        NotFoundError, InputError: as `retry`.
    """
    if head.source is None:
        raise NotFoundError(f"the head of {head.name!r} names no manifest")
    event = Notification("finalized", head.source.bucket, head.source.object, head.desired)
    reference = store_plan(services, _compile(services, event, head.attempts))
    _launch(services, reference)
    return reference


def _deploy(services: Services, name: str, event: Notification) -> None:
    stored = find_plan(services, name, event.generation)
    compiled = None if stored else _compile(services, event, attempt=1)
    source = Source(event.bucket, event.name)
    moved = change_head(services, name, lambda head: heads.desire(head, event.generation, source))
    if isinstance(moved, Refusal) and moved.code != "repeated":
        log("INFO", moved.message, deployment=name)
        return
    reference = stored or store_plan(services, compiled or _compile(services, event, attempt=1))
    execution = _launch(services, reference)
    log("INFO", f"{execution} acts on {reference.plan}", deployment=name)


def _launch(services: Services, reference: PlanReference) -> str:
    """Say that the plan exists and start its Execution; return the Execution's name."""
    announce(
        services,
        "manifest.accepted",
        deployment=reference.name,
        generation=reference.generation,
        attempt=reference.attempt,
        message=f"plan {reference.plan} is stored",
    )
    return executions.ensure_deploy(services, reference)


def _compile(services: Services, event: Notification, attempt: int) -> plan.Plan:
    """Read the manifest at its generation and everything a plan needs to know.

    Raises:
        ManifestError, InputError: the user's.
    """
    parsed = manifest.parse(_content(services, event), source_name=event.name)
    return compile_manifest(services, parsed, event, attempt)


def _content(services: Services, event: Notification) -> bytes:
    """Read the object, unless it is too large to be a manifest (and to be held in memory)."""
    found = services.objects.stat(_uri(event), generation=event.generation)
    if found and found.size_bytes > manifest.MAX_BYTES:
        raise InputError(
            f"{event.name} has {found.size_bytes} bytes; a manifest has at most"
            f" {manifest.MAX_BYTES}"
        )
    return services.objects.read(_uri(event), generation=event.generation).data or b""


def compile_manifest(
    services: Services, parsed: Manifest, event: Notification, attempt: int
) -> plan.Plan:
    """Return the plan of a parsed manifest after looking at its weights' listing."""
    plan.check_manifest(parsed, services.settings)
    return plan.compile_plan(
        parsed,
        services.settings,
        generation=event.generation,
        attempt=attempt,
        facts=gather(services.objects, parsed),
        manifest_uri=str(_uri(event)),
    )


def _refusal(head: Head, event: Notification) -> Refusal | None:
    source = Source(event.bucket, event.name)
    moved = heads.desire(head, event.generation, source)
    return moved if isinstance(moved, Refusal) else None


def _reject(services: Services, deployment: str, event: Notification, error: InputError) -> None:
    problems = (
        [vars(problem) for problem in error.problems]
        if isinstance(error, ManifestError)
        else [{"path": "", "message": str(error), "line": None, "column": None}]
    )
    log("WARNING", f"rejected {event.name}: {error}", deployment=deployment)
    announce(
        services,
        "manifest.rejected",
        deployment=deployment,
        generation=event.generation,
        attempt=1,
        message=str(error),
        problems=problems,
    )


def _uri(event: Notification) -> Uri:
    return Uri(event.bucket, event.name)
