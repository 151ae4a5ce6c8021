"""What must hold when a deployment has ended, and when its manifest was deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from saxflow import events
from saxflow.events import Event
from saxflow.head import Head

from .sight import Sight

SAID_BY_FUNCTIONS = ("manifest.accepted", "tpu.preempted")
MARKERS = ("metadata/commit_success.txt", "state/commit_success.txt", "commit_success.txt")


def after_deployment(seen: Sight, name: str, generation: str) -> list[str]:
    """Return what is wrong after a deployment has ended."""
    head, log = seen.head(name), seen.log(name, generation)
    assert head
    live = seen.tpus(name)
    if head.serving is not None and head.serving.generation == generation:
        wanted = [head.serving.queued_resource]
        ended = [*_state_of("serving", "model.serving", log), *_checkpoint(seen, name)]
    else:
        wanted = []
        ended = [*_state_of("failed", "deployment.failed", log), *_reasons(log)]
    found = [*_order(log), *ended, *_leftovers(seen, name, head)]
    if live != wanted:
        found.append(f"TPUs {live} instead of {wanted}")
    return found


def after_teardown(seen: Sight, name: str, generation: str) -> list[str]:
    """Return what is left after the manifest was deleted."""
    log = seen.log(name, generation)
    found = [*_order(log), *_jobs(seen, name)]
    if live := seen.tpus(name):
        found.append(f"deleted, with TPUs {live}")
    if left := seen.names("saxflow-cells", f"{name}/"):
        found.append(f"deleted, with {left[:3]} in the cells bucket")
    if log[-1].name != "deployment.deleted" or events.fold(log).state != "deleted":
        found.append(f"deleted, but the log says {[event.name for event in log]}")
    return found


def _state_of(state: str, last: str, log: list[Event]) -> Iterator[str]:
    said = [event.name for event in log]
    folded = events.fold(log).state
    if last not in said or folded != state:
        yield f"{state}, but the log folds to {folded}: {said}"


def _reasons(log: list[Event]) -> Iterator[str]:
    for event in log:
        if event.name == "deployment.failed" and not event.data["failure"]["reason"].strip():
            yield f"{event.name} without a reason"


def _order(log: list[Event]) -> Iterator[str]:
    ids = Counter(event.id for event in log)
    for identifier, times in ids.items():
        if times > 1:
            yield f"{identifier} stands {times} times in the log"
    for event in log:
        if event.subject != event.data["deployment"]:
            yield f"{event.id} has subject {event.subject!r}"
    # what functions say beside a running Execution may be appended a moment after it was said
    own = [event for event in log if event.name not in SAID_BY_FUNCTIONS]
    if [event.id for event in own] != [event.id for event in sorted(own, key=_moment)]:
        yield "the log is not in the order of time"


def _moment(event: Event) -> str:
    return event.time


def _checkpoint(seen: Sight, name: str) -> Iterator[str]:
    """Markers come after everything else, the root marker last."""
    step = {
        each.partition("/checkpoint_00000000/")[2]: generation
        for each, generation in seen.generations("saxflow-models", f"{name}/").items()
        if "/checkpoint_00000000/" in each
    }
    others = [generation for each, generation in step.items() if each not in MARKERS]
    order = [step.get(each, 0) for each in MARKERS]
    if order != sorted(order) or not others or max(others) > order[0]:
        yield f"markers were not written last: {order}"


def _leftovers(seen: Sight, name: str, head: Head) -> Iterator[str]:
    if head.lease or head.candidate:
        yield f"left in the head: {head.lease} {head.candidate}"
    yield from _jobs(seen, name)
    keep = head.serving.more["cell_root"] if head.serving else "nothing"
    cells = seen.names("saxflow-cells", f"{name}/")
    if left := [each for each in cells if not each.startswith(f"{keep}/")]:
        yield f"left in the cells bucket: {left[:3]}"


def _jobs(seen: Sight, name: str) -> Iterator[str]:
    if running := [state for state in seen.jobs(name) if state in ("QUEUED", "RUNNING")]:
        yield f"Jobs still {running}"
