"""A manifest's event delivered twice, late, or to a function that dies: one effective Execution."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from saxflow.errors import CloudError
from saxflow.gcp.objects import Uri
from saxflow.local.cloud import LocalCloud
from saxflow.pipeline.accept import accept
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.plans import find_plan
from saxflow.pipeline.remove import remove
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import newest_log

STRIDE = 11
"""Lines between two deaths: all of them take minutes and find the same."""


def event(services: Services, name: str, generation: str, kind: str = "finalized") -> Notification:
    return Notification(kind, services.settings.manifests_bucket, f"{name}.yaml", generation)


def outcomes(services: Services, name: str) -> list[str]:
    """Return what the Executions of a deployment answered, once all have ended."""
    parent = services.settings.workflow_path("deploy-model")
    deadline, pause = time.monotonic() + 120, threading.Event()
    while time.monotonic() < deadline:
        found = _executions(services, parent, name)
        if all(each.state.name == "SUCCEEDED" for each in found):
            return sorted(each.result.strip('"') for each in found)
        assert all(each.state.name in ("ACTIVE", "QUEUED", "SUCCEEDED") for each in found), found
        pause.wait(0.01)
    raise AssertionError(f"the Executions of {name} do not end")


def _executions(services: Services, parent: str, name: str) -> list[Any]:
    from google.cloud.workflows import executions_v1

    request = executions_v1.ListExecutionsRequest(
        parent=parent, view=executions_v1.ExecutionView.FULL
    )
    every = services.executions.list_executions(request=request)
    return [each for each in every if each.labels["deployment"] == name]


def check(services: Services, name: str, generation: str) -> None:
    """Assert what must hold after any number of deliveries and deaths."""
    found = read_head(services, name)
    assert found
    assert found[0].desired == generation
    reference = find_plan(services, name, generation)
    assert reference
    assert outcomes(services, name).count("held") == 1
    accepted = [each for each in newest_log(services, name) if each.name == "manifest.accepted"]
    assert len(accepted) == 1


def test_one_delivery_is_one_execution(services: Services, drop: Callable[[str], str]) -> None:
    generation = drop("once")
    accept(services, event(services, "once", generation))
    check(services, "once", generation)
    assert outcomes(services, "once") == ["held"]


def test_the_same_generation_twice_is_one_execution(
    services: Services, drop: Callable[[str], str]
) -> None:
    generation = drop("twice")
    for _ in range(3):
        accept(services, event(services, "twice", generation))
    check(services, "twice", generation)
    assert outcomes(services, "twice") == ["held"]


def test_a_crash_at_any_line_is_mended_by_the_next_delivery(
    services: Services,
    drop: Callable[[str], str],
    crash_at: Callable[[int, Callable[[], Any]], bool],
) -> None:
    struck = 0
    for line in itertools.count(1, STRIDE):
        name = f"crash-{line}"
        delivery = event(services, name, drop(name))
        died = crash_at(line, lambda delivery=delivery: accept(services, delivery))
        if not died:
            break
        struck += 1
        accept(services, delivery)
        check(services, name, delivery.generation)
    assert struck > 15


@pytest.mark.parametrize(
    ("service", "method"),
    [("storage", "objects.insert"), ("pubsub", "publish"), ("executions", "create_execution")],
)
def test_a_lost_answer_is_mended_by_the_next_delivery(
    cloud: LocalCloud,
    services: Services,
    drop: Callable[[str], str],
    service: str,
    method: str,
) -> None:
    for nth in range(1, 8):
        name = f"lost-{service}-{nth}"
        delivery = event(services, name, drop(name))
        cloud.faults.arm(service, method, "execute-and-timeout", nth=nth)
        with suppress(CloudError):
            accept(services, delivery)
        cloud.faults.clear()
        accept(services, delivery)
        check(services, name, delivery.generation)


def test_an_older_generation_late_changes_nothing(
    services: Services, drop: Callable[[str], str]
) -> None:
    older, newer = drop("order"), drop("order")
    accept(services, event(services, "order", newer))
    accept(services, event(services, "order", older))
    check(services, "order", newer)
    assert find_plan(services, "order", older) is None


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_events_leads_to_the_same_head(
    services: Services, drop: Callable[[str], str], seed: int
) -> None:
    name = f"shuffle-{seed}"
    generations = [drop(name) for _ in range(3)]
    deliveries = [event(services, name, each) for each in generations]
    deliveries += [event(services, name, each, "deleted") for each in generations[:2]]
    deliveries *= 2
    random.Random(seed).shuffle(deliveries)
    for delivery in deliveries:
        (accept if delivery.kind == "finalized" else remove)(services, delivery)
    check(services, name, generations[-1])


def test_a_deletion_buries_and_late_events_do_not_wake_the_dead(
    services: Services, drop: Callable[[str], str]
) -> None:
    generation = drop("buried")
    accept(services, event(services, "buried", generation))
    assert outcomes(services, "buried") == ["held"]
    services.objects.delete(Uri(services.settings.manifests_bucket, "buried.yaml"))
    for kind in ("deleted", "finalized", "deleted"):
        delivery = event(services, "buried", generation, kind)
        (accept if kind == "finalized" else remove)(services, delivery)
    head, _ = read_head(services, "buried") or pytest.fail("the head is gone")
    assert not head.wanted
    assert head.tombstone == generation
    assert outcomes(services, "buried") == ["held"]
