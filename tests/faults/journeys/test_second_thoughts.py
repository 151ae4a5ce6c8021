"""What users and time do to a deployment: retry, replace, let expire, keep for debugging."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from saxflow.gcp.objects import Uri
from saxflow.pipeline import accept, executions
from saxflow.pipeline.plans import find_plan

from .chaos import Point
from .invariants import after_deployment, after_teardown
from .world import World

HOUR = 3600.0
PAST_GRACE = 700.0
KEEP = ("ttl: 8h", "ttl: 8h\n  onFailure: keep")
SIDE_BY_SIDE = 6


@pytest.fixture
def strike(world: World) -> Callable[..., None]:
    """Return a function that has Chaos strike every call of a kind for a deployment."""

    def arm(
        name: str, like: str, action: str = "return-400", nth: int = 1, times: int = 99
    ) -> None:
        pattern = next(each for each in _clear_day(world) if like in str(each))
        world.chaos.strikes[name] = (replace(pattern, nth=nth), action, times)

    return arm


def _clear_day(world: World) -> list[Point]:
    if "clear" not in world.chaos.calls:
        name = world.name()
        assert world.journey(name).problems == []
        world.chaos.calls["clear"] = world.chaos.calls[name]
    return world.chaos.calls["clear"]


def serves(world: World, name: str) -> str:
    head = world.seen.head(name)
    return f"{head.serving.generation}/{head.serving.attempt}" if head.serving else ""


def deploy(world: World, name: str, **changes: Any) -> str:
    generation = world.drop(name, **changes)
    world.deployed(name, generation)
    return generation


def bury(world: World, name: str, generation: str) -> None:
    world.remove(name, generation)
    world.deleted(name)
    assert after_teardown(world.seen, name, generation) == []


def test_a_lifetime_ends_by_itself(world: World) -> None:
    name = world.name()
    generation = deploy(world, name)
    world.reconcile(later=7 * HOUR)
    assert serves(world, name) == f"{generation}/1"
    world.reconcile(later=9 * HOUR)
    world.deleted(name)
    assert after_teardown(world.seen, name, generation) == []


def test_what_a_failed_attempt_keeps_is_left_until_its_lifetime_ends(
    world: World, strike: Callable[..., None], eventually: Callable[..., None]
) -> None:
    name = world.name()
    strike(name, "functions.publish.publish")
    generation = deploy(world, name, keep=KEEP)
    assert world.seen.head(name).finished.outcome == "failed"
    assert len(world.seen.tpus(name)) == 1
    world.reconcile(later=PAST_GRACE)
    assert len(world.seen.tpus(name)) == 1
    assert world.seen.names("saxflow-cells", f"{name}/")
    world.reconcile(later=9 * HOUR)
    eventually(lambda: world.seen.tpus(name) == [])
    assert world.seen.names("saxflow-cells", f"{name}/") == []
    assert world.seen.head(name).candidate is None
    bury(world, name, generation)


def test_deleting_the_manifest_ends_what_a_failed_attempt_keeps(
    world: World, strike: Callable[..., None]
) -> None:
    name = world.name()
    strike(name, "functions.publish.publish")
    generation = deploy(world, name, keep=KEEP)
    assert len(world.seen.tpus(name)) == 1
    bury(world, name, generation)


def test_a_retry_of_a_failed_attempt_serves(world: World, strike: Callable[..., None]) -> None:
    name = world.name()
    strike(name, "functions.publish.publish", times=1)
    generation = deploy(world, name, keep=KEEP)
    assert world.seen.head(name).finished.outcome == "failed"
    accept.retry(world.services, name)
    world.deployed(name, generation)
    assert serves(world, name) == f"{generation}/2"
    assert after_deployment(world.seen, name, generation) == []
    bury(world, name, generation)


def test_a_retry_of_a_running_attempt_makes_it_give_way(
    world: World, eventually: Callable[..., None]
) -> None:
    name = world.name()
    world.cloud.outcomes.arm("hold", contains=f"/sf-{name}-")
    generation = world.drop(name)
    eventually(lambda: any(e.name == "tpu.requested" for e in world.seen.log(name, generation)))
    accept.retry(world.services, name)
    world.cloud.outcomes.release(f"/sf-{name}-")
    world.deployed(name, generation)
    assert serves(world, name) == f"{generation}/2"
    assert after_deployment(world.seen, name, generation) == []
    bury(world, name, generation)


def test_a_new_generation_takes_over_only_when_it_serves(
    world: World, strike: Callable[..., None]
) -> None:
    name = world.name()
    first = deploy(world, name)
    (tpu,) = world.seen.tpus(name)
    strike(name, "functions.publish.probe", nth=2)
    second = deploy(world, name)
    assert world.seen.head(name).finished.outcome == "failed"
    assert world.seen.log(name, second)[-1].name == "deployment.failed"
    assert serves(world, name) == f"{first}/1"
    assert world.seen.tpus(name) == [tpu]
    world.reconcile(later=PAST_GRACE)
    assert world.seen.tpus(name) == [tpu]
    world.chaos.strikes.pop(name)
    third = deploy(world, name)
    assert serves(world, name) == f"{third}/1"
    assert after_deployment(world.seen, name, third) == []
    bury(world, name, third)


def test_what_serves_is_given_up_when_lost_though_its_successor_failed(
    world: World, strike: Callable[..., None], eventually: Callable[..., None]
) -> None:
    name = world.name()
    deploy(world, name)
    strike(name, "functions.publish.probe", nth=2)
    second = deploy(world, name)
    lost = world.seen.head(name).serving
    world.cloud.tpu.preempt(
        f"projects/{world.services.settings.project}/locations/{lost.zone}"
        f"/queuedResources/{lost.queued_resource}"
    )
    world.reconcile()
    assert serves(world, name) == ""
    eventually(lambda: world.seen.tpus(name) == [])
    bury(world, name, second)


def _leased(world: World, name: str) -> bool:
    lease = world.seen.head(name).lease
    return lease is not None and lease.until >= time.time()


FENCED = ("tpu.get_queued_resource[]#2", "functions.publish.status", "batch.get_job[]#1")


@pytest.mark.parametrize("where", FENCED)
def test_a_holder_that_wakes_after_its_lease_does_no_damage(
    world: World, strike: Callable[..., None], where: str, eventually: Callable[..., None]
) -> None:
    name = world.name()
    point = next(each for each in _clear_day(world) if where in str(each))
    strike(name, where, "stall-always", nth=point.nth, times=1)
    hasty = world.hasty(1.0)
    generation = world.drop(name, services=hasty)
    eventually(lambda: name in world.chaos.struck)
    reference = find_plan(world.services, name, generation)
    assert reference
    eventually(lambda: not _leased(world, name))
    executions.start_deploy(hasty, reference)
    world.deployed(name, generation)
    assert serves(world, name) == f"{generation}/1"
    assert after_deployment(world.seen, name, generation) == []
    bury(world, name, generation)


STORMS = (
    "batch.create_job",
    "batch.get_job",
    "tpu.create_queued_resource",
    "tpu.get_queued_resource",
    "tpu.delete_queued_resource",
    "functions.commit",
    "functions.publish.ready",
    "functions.publish.probe",
    "functions.publish.unpublish",
    "pubsub.publish[tpu.active]",
    "pubsub.publish[model.serving]",
    "pubsub.publish[deployment.deleted]",
    "objects.insert[control/deployments/case-N/G/events/00000003.json]",
    "objects.insert[control/deployments/case-N/G/events/00000010.json]",
    "objects.insert[models/case-N/llama",
    "objects.delete[cells/case-N/G/workers",
)


def test_a_service_that_fails_longer_than_a_workflow_is_patient(world: World) -> None:
    clear = _clear_day(world)

    def run(like: str) -> list[str]:
        name = world.name()
        point = next(
            each
            for each in clear
            if like in str(each) and ("commit" in str(each) or "models/" not in like)
        )
        world.chaos.strikes[name] = (replace(point, nth=1), "return-503", 30)
        outcome = world.journey(name, lease_seconds=2.0)
        return [outcome.end, *outcome.problems]

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        ends = dict(zip(STORMS, pool.map(run, STORMS), strict=True))
    assert {like: end for like, end in ends.items() if end not in (["serving"], ["failed"])} == {}


def test_files_of_a_cell_that_nobody_refers_to_are_swept(world: World) -> None:
    name = world.name()
    generation = deploy(world, name)
    stray = Uri("saxflow-cells", f"{name}/1-a1/workers/0.json")
    world.services.objects.write(stray, b"{}", if_generation=None)
    world.reconcile()
    assert stray.name in world.seen.names("saxflow-cells", f"{name}/")
    world.reconcile(later=PAST_GRACE)
    assert stray.name not in world.seen.names("saxflow-cells", f"{name}/")
    assert after_deployment(world.seen, name, generation) == []
    bury(world, name, generation)
