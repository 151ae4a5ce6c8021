"""Compare heads with reality and start short Executions where they differ.

The scheduler calls this every two minutes. It trusts nothing that a process remembers: heads say
what should be, the Executions, TPU and Batch services say what is. Each finding is repaired by the
same idempotent starts that a user's action would cause.

    what is found                                        what is done
    lifetime of what serves is over                      teardown, reason ttl
    lifetime of a failed attempt's TPU is over           delete
    serving QueuedResource gone, suspended or failed     tpu.preempted, another attempt unless a
                                                         newer generation is wanted
    wanted generation without outcome, lease, Execution  the same attempt, another Execution
    buried deployment whose teardown did not end         teardown
    labelled QueuedResource or Job nobody refers to      delete
    files of a cell nobody refers to                     delete
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from saxflow.errors import CloudError, InputError, NotFoundError, SaxflowError
from saxflow.gcp.objects import Uri
from saxflow.gcp.translate import translated
from saxflow.head import Attempt, Head, Refusal, retry
from saxflow.pipeline import accept, executions
from saxflow.pipeline.eventlog import announce
from saxflow.pipeline.heads import change_head, head_names, read_head
from saxflow.pipeline.logs import log
from saxflow.pipeline.orphans import delete_queued_resource, sweep_orphans
from saxflow.pipeline.plans import find_plan
from saxflow.pipeline.remove import tear_down
from saxflow.pipeline.services import Services

CALL_TIMEOUT_SECONDS = 30.0
_CHANGED = Refusal("repeated", "the head changed meanwhile")
LOST_STATES = frozenset({"FAILED", "SUSPENDING", "SUSPENDED", "DELETING"})


@dataclass
class Report:
    """What one pass did, a line per finding; `failed` names what it could not repair."""

    repaired: list[str] = field(default_factory=list[str])
    failed: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, list[str]]:
        """Return the report, ready for JSON."""
        return {"repaired": self.repaired, "failed": self.failed}


def reconcile(services: Services) -> Report:
    """Make one pass over all deployments; trouble with one does not stop the others."""
    report = Report()
    heads: dict[str, Head | None] = {}
    for name in head_names(services):
        heads[name] = None
        _guarded(report, name, lambda name=name: _look(services, name, heads))
    _guarded(report, "orphans", lambda: sweep_orphans(services, heads))
    return report


def _guarded(report: Report, what: str, act: Callable[[], list[str]]) -> None:
    try:
        done = act()
    except SaxflowError as error:
        log("ERROR", f"reconcile {what}: {error}")
        report.failed.append(f"{what}: {error}")
        return
    for line in done:
        log("INFO", f"reconcile {line}")
    report.repaired += done


def _look(services: Services, name: str, heads: dict[str, Head | None]) -> list[str]:
    """Read a head, remember it for the sweep, and repair what it tells."""
    found = read_head(services, name)
    if found is None:
        return []
    heads[name] = found[0]
    return _repair(services, found[0])


def _repair(services: Services, head: Head) -> list[str]:
    if _is_held(services, head):
        return []
    if not head.wanted:
        return _finish_teardown(services, head)
    serving, kept = head.serving, head.candidate
    if serving and _is_settled(head) and _expired(services, serving):
        tear_down(services, head.name, head.desired, reason="its lifetime (ttl) is over")
        return [f"{head.name}: lifetime is over, teardown started"]
    if kept and _is_settled(head) and _expired(services, kept):
        return _delete_kept(services, head, kept)
    if serving and _is_lost(services, serving):
        return _replace_lost(services, head, serving)
    return _revive(services, head)


def _is_settled(head: Head) -> bool:
    """Return whether the attempt that is wanted has ended."""
    finished = head.finished
    wanted = (head.desired, head.attempts)
    return finished is not None and (finished.generation, finished.attempt) == wanted


def _is_held(services: Services, head: Head) -> bool:
    return head.lease is not None and head.lease.until > services.clock()


def _expired(services: Services, serving: Attempt) -> bool:
    expires = serving.more.get("expires")
    return isinstance(expires, (int, float)) and expires < services.clock()


def _finish_teardown(services: Services, head: Head) -> list[str]:
    started = tear_down(services, head.name, head.tombstone, reason="teardown did not finish")
    return [f"{head.name}: teardown started again"] if started else []


def _is_lost(services: Services, serving: Attempt) -> bool:
    """Return whether the TPU of an attempt is gone for good; trouble in asking is no answer."""
    name = _resource(services, serving)
    try:
        with translated("tpu", f"get {name}"):
            found = services.tpu.get_queued_resource(name=name, timeout=CALL_TIMEOUT_SECONDS)
    except CloudError as error:
        if error.code == 404:
            return True
        raise
    return found.state.state.name in LOST_STATES


def _replace_lost(services: Services, head: Head, serving: Attempt) -> list[str]:
    """Give up what served; want another attempt, unless a newer generation is wanted anyway."""
    announce(
        services,
        "tpu.preempted",
        deployment=head.name,
        generation=serving.generation,
        attempt=serving.attempt,
        message=f"{serving.queued_resource} in {serving.zone} is gone",
    )
    _delete_held(services, serving)
    changed = change_head(services, head.name, lambda current: _without(current, serving))
    if isinstance(changed, Refusal):
        return [f"{head.name}: {changed.message}"]
    if changed.attempts == head.attempts:
        return [f"{head.name}: TPU of generation {serving.generation} lost"]
    reference = accept.resume(services, changed)
    return [f"{head.name}: TPU lost, attempt {reference.attempt} started"]


def _without(head: Head, lost: Attempt) -> Head | Refusal:
    """Return the head after the loss of what served, in one step: a crash leaves none between."""
    if head.serving is None or head.serving.queued_resource != lost.queued_resource:
        return Refusal("superseded", f"{lost.queued_resource} does not serve any more")
    freed = replace(head, serving=None)
    return retry(freed, freed.desired) if lost.generation == freed.desired else freed


def _delete_kept(services: Services, head: Head, kept: Attempt) -> list[str]:
    """Delete the TPU that a failed attempt was told to keep."""
    _delete_held(services, kept)
    change_head(
        services,
        head.name,
        lambda current: replace(current, candidate=None) if current == head else _CHANGED,
    )
    return [f"{head.name}: lifetime of {kept.queued_resource} is over, deleted"]


def _delete_held(services: Services, attempt: Attempt) -> None:
    """Delete a QueuedResource, which eats quota even when it is dead, and its cell's files."""
    delete_queued_resource(services, _resource(services, attempt))
    root = attempt.more.get("cell_root")
    if root:
        for item in services.objects.list(Uri(services.settings.cells_bucket, f"{root}/")):
            services.objects.delete(item.uri)


def _resource(services: Services, attempt: Attempt) -> str:
    project = services.settings.project
    return f"projects/{project}/locations/{attempt.zone}/queuedResources/{attempt.queued_resource}"


def _revive(services: Services, head: Head) -> list[str]:
    """Start another Execution for a wanted attempt that ended without an outcome."""
    if _is_settled(head):
        return []
    reference = find_plan(services, head.name, head.desired)
    if reference is None or reference.attempt != head.attempts:
        return _restart(services, head)
    execution = executions.claimed_execution(services, reference)
    if execution and executions.is_running(services, execution):
        return []
    executions.start_deploy(services, reference)
    return [f"{head.name}: no Execution acts on attempt {reference.attempt}, one was started"]


def _restart(services: Services, head: Head) -> list[str]:
    """Plan an attempt whose planning was cut short."""
    try:
        reference = accept.resume(services, head)
    except (InputError, NotFoundError) as error:
        return [f"{head.name}: cannot be planned, {error}"]
    return [f"{head.name}: attempt {reference.attempt} was planned and started"]
