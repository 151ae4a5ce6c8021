"""A deleted manifest buries its generation and tears down, but never what is wanted again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from saxflow import head as heads
from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.head import Attempt, Finished, Head, Source
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.plans import store_plan
from saxflow.pipeline.remove import remove, tear_down
from saxflow.pipeline.services import Services
from saxflow.plan import Plan

PutHead, GetHead = Callable[[Head], Head], Callable[[str], Head]
PlanOf, Ran = Callable[..., Plan], Callable[[str, str], list[dict[str, Any]]]
SERVING = Attempt("1000", 1)


def deleted(name: str, generation: str = "1000") -> Notification:
    return Notification("deleted", "manifests", name, generation)


def wanted(name: str, generation: str = "1000") -> Head:
    source = Source("manifests", f"{name}.yaml")
    return Head(name, source=source, desired=generation, attempts=1, serving=SERVING)


def test_a_deleted_manifest_is_torn_down(
    services: Services, put_head: PutHead, get_head: GetHead, plan_of: PlanOf, ran: Ran
) -> None:
    reference = store_plan(services, plan_of("down"))
    put_head(wanted("down"))
    remove(services, deleted("down.yaml"))
    after = get_head("down")
    assert (after.desired, after.tombstone) == ("0", "1000")
    (argument,) = ran("teardown-model", "down")
    assert argument["plan"] == reference.plan
    assert argument["reason"] == "down.yaml was deleted"


def test_an_overwritten_manifest_is_not_deleted(
    services: Services, put_head: PutHead, get_head: GetHead, ran: Ran
) -> None:
    before = put_head(wanted("overwritten"))
    services.objects.write(Uri("manifests", "overwritten.yaml"), b"newer", if_generation=None)
    remove(services, deleted("overwritten.yaml"))
    assert get_head("overwritten") == before
    assert ran("teardown-model", "overwritten") == []


def test_what_is_no_manifest_or_never_was_is_left_alone(services: Services) -> None:
    for name in ("README.md", "No Name.yaml", "never-was.yaml"):
        remove(services, deleted(name))
    assert read_head(services, "never-was") is None


def test_a_late_delivery_spares_what_is_wanted_now(
    services: Services, put_head: PutHead, get_head: GetHead, plan_of: PlanOf, ran: Ran
) -> None:
    store_plan(services, plan_of("revived", generation="2000"))
    put_head(wanted("revived", "2000"))
    for _ in range(2):
        assert tear_down(services, "revived", "1000", reason="late") is None
    assert get_head("revived").desired == "2000"
    assert get_head("revived").tombstone == "1000"
    assert ran("teardown-model", "revived") == []


def test_a_crash_before_the_teardown_is_mended_by_the_next_delivery(
    services: Services, put_head: PutHead, plan_of: PlanOf, ran: Ran
) -> None:
    store_plan(services, plan_of("crashed"))
    buried = heads.bury(wanted("crashed"), "1000")
    assert isinstance(buried, Head)
    put_head(buried)
    remove(services, deleted("crashed.yaml"))
    assert len(ran("teardown-model", "crashed")) == 1


def test_the_newest_plan_speaks_for_the_deployment(
    services: Services, put_head: PutHead, plan_of: PlanOf, ran: Ran
) -> None:
    for generation in ("1000", "2000"):
        store_plan(services, plan_of("speaks", generation=generation))
    put_head(replace(wanted("speaks", "3000"), candidate=Attempt("2000", 1)))
    tear_down(services, "speaks", "3000", reason="gone")
    (argument,) = ran("teardown-model", "speaks")
    assert argument["generation"] == "2000"


def test_nothing_is_started_where_nothing_is_left(
    services: Services, put_head: PutHead, plan_of: PlanOf, say: Callable[..., Event], ran: Ran
) -> None:
    put_head(replace(wanted("unplanned"), serving=None))
    assert tear_down(services, "unplanned", "1000", reason="gone") is None
    store_plan(services, plan_of("finished"))
    finished = Finished("1000", 1, "deleted")
    put_head(replace(wanted("finished"), serving=None, finished=finished))
    assert tear_down(services, "finished", "1000", reason="gone") is None
    assert ran("teardown-model", "finished") == []
