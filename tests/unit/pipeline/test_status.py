"""Status is the fold of the newest log, the head's word on what serves, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from saxflow.errors import NotFoundError
from saxflow.events import Event
from saxflow.head import Attempt, Head
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import (
    deployment_names,
    deployment_status,
    event_objects,
    new_events,
    newest_log,
)

Say = Callable[..., Event]
HOUR = 3600.0
SERVING = Attempt(
    "1000",
    1,
    sax_root="gs://cells/x/sax-root",
    model_id="/sax/test/x",
    active_at=1_800_000_000.0,
    more={"hourly_usd": 4.8},
)


def test_what_never_was_is_not_found(services: Services) -> None:
    with pytest.raises(NotFoundError, match="'nobody' does not exist"):
        deployment_status(services, "nobody")


def test_the_newest_generation_speaks(services: Services, say: Say) -> None:
    say("manifest.accepted", "two-logs", generation="999")
    say("deployment.failed", "two-logs", generation="999", at=1)
    newest = say("manifest.accepted", "two-logs", generation="1000", at=2)
    assert newest_log(services, "two-logs") == [newest]
    found = deployment_status(services, "two-logs")
    assert (found["generation"], found["state"]) == ("1000", "accepted")
    assert sorted(event_objects(services, "two-logs")) == ["1000", "999"]
    assert newest_log(services, "nobody") == []


def test_only_new_events_are_read(services: Services, say: Say) -> None:
    say("manifest.accepted", "fresh")
    second = say("conversion.started", "fresh", at=1)
    assert new_events(services, "fresh", "1000", seen=1) == [second]
    assert new_events(services, "fresh", "1000", seen=2) == []


def test_a_serving_model_has_endpoint_and_cost(
    services: Services, say: Say, put_head: Callable[[Head], Head]
) -> None:
    say("model.serving", "cost")
    put_head(Head("cost", desired="1000", serving=SERVING))
    settings = replace(services.settings, generate_url="https://generate")
    later = replace(services, settings=settings, clock=lambda: SERVING.active_at + 2.5 * HOUR)
    found = deployment_status(later, "cost")
    assert found["state"] == "serving"
    assert found["endpoint"] == "https://generate"
    assert (found["model"], found["sax_root"]) == ("/sax/test/x", "gs://cells/x/sax-root")
    assert (found["hourly_cost_usd"], found["spent_usd"]) == (4.8, 12.0)


def test_a_candidate_costs_beside_what_serves(
    services: Services, put_head: Callable[[Head], Head]
) -> None:
    candidate = replace(SERVING, attempt=2, active_at=SERVING.active_at + HOUR)
    waiting = replace(SERVING, attempt=3, active_at=0)
    later = replace(services, clock=lambda: SERVING.active_at + 2 * HOUR)
    put_head(Head("both", serving=SERVING, candidate=candidate))
    found = deployment_status(later, "both")
    assert (found["hourly_cost_usd"], found["spent_usd"]) == (9.6, 14.4)
    put_head(Head("both", candidate=waiting))
    found = deployment_status(later, "both")
    assert (found["hourly_cost_usd"], found["spent_usd"]) == (0, 0)
    assert (found["state"], found["endpoint"]) == ("unknown", None)


def test_a_clock_behind_spends_nothing(
    services: Services, put_head: Callable[[Head], Head]
) -> None:
    put_head(Head("early", serving=SERVING))
    early = replace(services, clock=lambda: SERVING.active_at - 5)
    assert deployment_status(early, "early")["spent_usd"] == 0


def test_names_are_those_with_head_or_log(
    services: Services, say: Say, put_head: Callable[[Head], Head]
) -> None:
    say("manifest.accepted", "name-log")
    put_head(Head("name-head"))
    say("manifest.rejected", "-")
    found = deployment_names(services)
    assert found == sorted(found)
    assert {"name-log", "name-head"} <= set(found)
    assert "-" not in found
