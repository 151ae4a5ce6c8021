"""A manifest was deleted: bury its generation and start the teardown Workflow.

`deleted` also fires when an object is overwritten, so nothing is torn down while a live object of
that name remains.
"""

from __future__ import annotations

from saxflow import head as heads
from saxflow import names
from saxflow.gcp.objects import Uri
from saxflow.head import Head, Refusal
from saxflow.pipeline import executions
from saxflow.pipeline.heads import change_head, read_head
from saxflow.pipeline.logs import log
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.plans import PlanReference, find_plan
from saxflow.pipeline.services import Services


def remove(services: Services, event: Notification) -> None:
    """Act on a deleted object of the manifests bucket.

    Raises:
        CloudError, BusyError: trouble that a redelivery may cure.
    """
    name = names.stem_of(event.name)
    if not names.is_manifest(event.name) or not names.is_deployment_name(name):
        return
    if services.objects.stat(Uri(event.bucket, event.name)):
        log("INFO", f"{event.name} was overwritten, not deleted", deployment=name)
        return
    tear_down(services, name, event.generation, reason=f"{event.name} was deleted")


def tear_down(services: Services, name: str, generation: str, *, reason: str) -> str | None:
    """Bury a generation and start the teardown of whatever remains of the deployment.

    Returns:
        The Execution's name, None when there is nothing to tear down.
    """
    found = read_head(services, name)
    if found is None:
        log("INFO", f"{name} was never deployed", deployment=name)
        return None
    before = found[0]
    buried = change_head(services, name, lambda head: heads.bury(head, generation))
    if isinstance(buried, Refusal):
        log("INFO", buried.message, deployment=name)
        buried = before
    if buried.wanted:
        log("INFO", f"generation {buried.desired} is wanted; only {generation} was deleted")
        return None
    reference = _plan_to_tear_down(services, before, generation)
    if reference is None or _is_deleted(before, reference):
        return None
    return executions.start_teardown(services, reference, reason)


def _plan_to_tear_down(services: Services, head: Head, generation: str) -> PlanReference | None:
    """Return the newest stored plan that speaks for the deployment."""
    attempts = [attempt.generation for attempt in (head.candidate, head.serving) if attempt]
    finished = [head.finished.generation] if head.finished else []
    known = {head.desired, generation, *attempts, *finished} - {heads.NO_GENERATION}
    for candidate in sorted(known, key=int, reverse=True):
        reference = find_plan(services, head.name, candidate)
        if reference:
            return reference
    return None


def _is_deleted(head: Head, reference: PlanReference) -> bool:
    finished = head.finished
    return (
        finished is not None
        and finished.outcome == "deleted"
        and finished.generation == reference.generation
        and head.serving is None
        and head.candidate is None
    )
