"""Executions are started and claimed; a claim keeps the next delivery from another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.errors import CloudError
from saxflow.local.cloud import LocalCloud
from saxflow.pipeline import executions
from saxflow.pipeline.plans import PlanReference
from saxflow.pipeline.services import Services

Ran = Callable[[str, str], list[dict[str, Any]]]


def reference(name: str, attempt: int = 1) -> PlanReference:
    return PlanReference(name, "1000", attempt, f"gs://control/{name}", "1", "00")


def test_a_claimed_attempt_is_not_started_again(services: Services, ran: Ran) -> None:
    attempt = reference("claim")
    assert executions.claimed_execution(services, attempt) is None
    name = executions.ensure_deploy(services, attempt)
    assert executions.claimed_execution(services, attempt) == name
    assert executions.ensure_deploy(services, attempt) == name
    (argument,) = ran("deploy-model", "claim")
    assert argument["plan"] == "gs://control/claim"


def test_each_attempt_has_its_claim(services: Services, ran: Ran) -> None:
    first = executions.ensure_deploy(services, reference("attempts", 1))
    second = executions.ensure_deploy(services, reference("attempts", 2))
    assert first != second
    assert sorted(each["attempt"] for each in ran("deploy-model", "attempts")) == [1, 2]


def test_a_start_without_look_moves_the_claim(services: Services) -> None:
    attempt = reference("restart")
    first = executions.ensure_deploy(services, attempt)
    second = executions.start_deploy(services, attempt)
    assert second != first
    assert executions.claimed_execution(services, attempt) == second


def test_a_teardown_says_why(services: Services, ran: Ran) -> None:
    executions.start_teardown(services, reference("gone"), "its lifetime is over")
    (argument,) = ran("teardown-model", "gone")
    assert argument["reason"] == "its lifetime is over"


def test_whether_an_execution_runs(services: Services) -> None:
    name = executions.start_deploy(services, reference("busy-one"))
    assert executions.is_running(services, name)
    services.executions.cancel_execution(name=name)
    assert not executions.is_running(services, name)
    assert not executions.is_running(services, name.rsplit("/", 1)[0] + "/none")


def test_trouble_in_asking_is_no_answer(cloud: LocalCloud, services: Services) -> None:
    name = executions.start_deploy(services, reference("asked"))
    cloud.faults.arm("executions", "get_execution", "return-403", count=1)
    with pytest.raises(CloudError, match="get projects/proj/"):
        executions.is_running(services, name)
    cloud.faults.clear()
