"""One pass: what heads want against what is there; each finding repaired once, none in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import batch_v1, tpu_v2

from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.head import Attempt, Finished, Head, Lease, Source
from saxflow.local.cloud import LocalCloud
from saxflow.names import deployment_id, head_object
from saxflow.pipeline import executions
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.orphans import delete_queued_resource
from saxflow.pipeline.plans import store_plan
from saxflow.pipeline.reconcile import Report, reconcile
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import newest_log
from saxflow.plan import Plan

ZONE = "projects/proj/locations/us-central1-a"
REGION = "projects/proj/locations/us-central1"
OURS = {"managed-by": "saxflow"}
PutHead, GetHead = Callable[[Head], Head], Callable[[str], Head]
PlanOf, Ran = Callable[..., Plan], Callable[[str, str], list[dict[str, Any]]]
Say, Drop = Callable[..., Event], Callable[..., Notification]


@pytest.fixture(autouse=True)
def _alone(services: Services, cloud: LocalCloud) -> Iterator[None]:
    """Leave nothing that another pass would find."""
    _clear(services)
    yield
    _clear(services)
    cloud.outcomes.clear()


def _clear(services: Services) -> None:
    for item in services.objects.list(Uri("control", "deployments/")):
        if item.uri.name.endswith("/head.json"):
            services.objects.delete(item.uri)
    for item in services.objects.list(Uri("cells", "")):
        services.objects.delete(item.uri)
    for resource in services.tpu.list_queued_resources(parent=ZONE):
        delete_queued_resource(services, resource.name)


@pytest.fixture
def hold(services: Services, cloud: LocalCloud) -> Callable[..., str]:
    """Return a function that asks for a QueuedResource that stays waiting."""

    def ask(identifier: str, labels: dict[str, str] = OURS) -> str:
        cloud.outcomes.arm("hold", contains=identifier)
        node = {
            "accelerator_type": "v5litepod-1",
            "runtime_version": "v2-alpha-tpuv5-lite",
            "labels": labels,
        }
        spec = {"parent": ZONE, "node_id": identifier, "node": node}
        services.tpu.create_queued_resource(
            parent=ZONE,
            queued_resource_id=identifier,
            queued_resource=tpu_v2.QueuedResource(tpu={"node_spec": [spec]}),
        ).result(timeout=10)
        return f"{ZONE}/queuedResources/{identifier}"

    return ask


def is_there(services: Services, queued_resource: str) -> bool:
    try:
        services.tpu.get_queued_resource(name=queued_resource)
    except exceptions.NotFound:
        return False
    return True


def later(services: Services, seconds: float = 3600) -> Services:
    now = services.clock()
    return replace(services, clock=lambda: now + seconds)


def serving(name: str, **more: Any) -> Head:
    identifier = deployment_id(name, "1000", 1)
    held = Attempt(
        "1000", 1, queued_resource=identifier, zone="us-central1-a", more={"expires": None, **more}
    )
    finished = Finished("1000", 1, "serving")
    return Head(name, desired="1000", attempts=1, serving=held, finished=finished)


def names_of(report: Report) -> set[str]:
    return {line.partition(":")[0] for line in report.repaired}


def test_a_world_in_order_is_left_alone(
    services: Services, put_head: PutHead, hold: Callable[..., str]
) -> None:
    hold(deployment_id("order", "1000", 1))
    put_head(serving("order"))
    assert reconcile(later(services)).to_json() == {"repaired": [], "failed": []}


def test_a_lifetime_that_is_over_is_a_teardown(
    services: Services, put_head: PutHead, get_head: GetHead, plan_of: PlanOf, ran: Ran
) -> None:
    store_plan(services, plan_of("ttl"))
    put_head(serving("ttl", expires=services.clock() - 1))
    assert names_of(reconcile(services)) == {"ttl"}
    assert get_head("ttl").tombstone == "1000"
    (argument,) = ran("teardown-model", "ttl")
    assert "ttl" in argument["reason"]


def test_a_lost_tpu_is_another_attempt(
    services: Services, drop: Drop, put_head: PutHead, get_head: GetHead, ran: Ran
) -> None:
    event = drop("lost-tpu")
    base = serving("lost-tpu", cell_root="lost-tpu/rs-a1")
    services.objects.write(Uri("cells", "lost-tpu/rs-a1/sax-root/x"), b"", if_generation=None)
    held = replace(base.serving, generation=event.generation) if base.serving else None
    put_head(
        replace(
            base,
            source=Source(event.bucket, event.name),
            desired=event.generation,
            serving=held,
            finished=Finished(event.generation, 1, "serving"),
        )
    )
    report = reconcile(services)
    assert report.failed == []
    assert names_of(report) == {"lost-tpu"}
    after = get_head("lost-tpu")
    assert (after.attempts, after.serving) == (2, None)
    assert [event.name for event in newest_log(services, "lost-tpu")][:1] == ["tpu.preempted"]
    assert [each["attempt"] for each in ran("deploy-model", "lost-tpu")] == [2]
    assert list(services.objects.list(Uri("cells", "lost-tpu/"))) == []


def test_a_dead_execution_is_revived_once(
    services: Services, put_head: PutHead, plan_of: PlanOf, ran: Ran
) -> None:
    reference = store_plan(services, plan_of("busy-dead"))
    dead = executions.start_deploy(services, reference)
    services.executions.cancel_execution(name=dead)
    put_head(Head("busy-dead", desired="1000", attempts=1))
    assert names_of(reconcile(services)) == {"busy-dead"}
    assert reconcile(services).repaired == []
    assert len(ran("deploy-model", "busy-dead")) == 2
    alive = executions.claimed_execution(services, reference)
    assert alive
    assert alive != dead
    services.executions.cancel_execution(name=alive)


def test_an_attempt_with_an_outcome_is_not_revived(
    services: Services, put_head: PutHead, plan_of: PlanOf, ran: Ran
) -> None:
    store_plan(services, plan_of("ended"))
    put_head(Head("ended", desired="1000", attempts=1, finished=Finished("1000", 1, "failed")))
    assert reconcile(services).repaired == []
    assert ran("deploy-model", "ended") == []


def test_planning_cut_short_is_finished(
    services: Services, drop: Drop, put_head: PutHead, ran: Ran
) -> None:
    event = drop("cut-short")
    source = Source(event.bucket, event.name)
    put_head(Head("cut-short", source=source, desired=event.generation, attempts=1))
    assert names_of(reconcile(services)) == {"cut-short"}
    assert len(ran("deploy-model", "cut-short")) == 1


def test_what_cannot_be_planned_any_more_is_told(services: Services, put_head: PutHead) -> None:
    put_head(Head("unplannable", desired="5", attempts=1))
    (line,) = reconcile(services).repaired
    assert line.startswith("unplannable: cannot be planned, ")


def test_a_buried_deployment_with_leftovers_is_torn_down_again(
    services: Services, put_head: PutHead, plan_of: PlanOf, ran: Ran
) -> None:
    store_plan(services, plan_of("leftover"))
    put_head(replace(serving("leftover"), desired="0", tombstone="1000"))
    assert names_of(reconcile(services)) == {"leftover"}
    (argument,) = ran("teardown-model", "leftover")
    assert argument["generation"] == "1000"


def test_nothing_is_touched_while_a_lease_is_held(
    services: Services,
    put_head: PutHead,
    get_head: GetHead,
    plan_of: PlanOf,
    ran: Ran,
    hold: Callable[..., str],
) -> None:
    now = services.clock()
    store_plan(services, plan_of("leased"))
    older = hold(deployment_id("leased", "900", 1))
    lease = Lease("projects/p/e", now + 7200, "1000", 1)
    before = put_head(replace(serving("leased", expires=now - 1), lease=lease))
    assert reconcile(later(services)).to_json() == {"repaired": [], "failed": []}
    assert get_head("leased") == before
    assert ran("teardown-model", "leased") == []
    assert is_there(services, older)


def test_orphans_are_deleted_and_others_spared(
    services: Services, put_head: PutHead, hold: Callable[..., str]
) -> None:
    put_head(serving("known"))
    mine = hold(deployment_id("known", "1000", 1))
    orphan = hold(deployment_id("nobody", "1000", 1))
    foreign = hold(deployment_id("foreign", "1000", 1), {})
    before = services.clock() - 1
    script = {"runnables": [{"script": {"text": "sleep 60"}}]}
    job = services.batch.create_job(
        parent=REGION,
        job_id=deployment_id("nobody", "1000", 1),
        job=batch_v1.Job(task_groups=[{"task_spec": script}], labels=OURS),
    )
    assert reconcile(replace(services, clock=lambda: before)).repaired == []
    report = reconcile(later(services))
    assert report.failed == []
    assert sorted(line.partition(": ")[2] for line in report.repaired) == [
        "orphaned Job deleted",
        "orphaned QueuedResource in us-central1-a deleted",
    ]
    assert not is_there(services, orphan)
    assert is_there(services, mine)
    assert is_there(services, foreign)
    with pytest.raises(exceptions.NotFound):
        services.batch.get_job(name=job.name)


def test_trouble_with_one_deployment_does_not_stop_the_others(
    services: Services, put_head: PutHead, plan_of: PlanOf, hold: Callable[..., str]
) -> None:
    damaged = Uri("control", head_object("a-damaged"))
    services.objects.write(damaged, b"{}", if_generation=None)
    held = hold(deployment_id("a-damaged", "1000", 1))
    store_plan(services, plan_of("b-expired"))
    put_head(serving("b-expired", expires=1.0))
    report = reconcile(later(services))
    assert names_of(report) == {"b-expired"}
    (line,) = report.failed
    assert line.startswith("a-damaged: head: apiVersion is None")
    assert is_there(services, held)
