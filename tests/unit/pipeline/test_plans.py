"""A plan is stored once an attempt, whole or not at all, and read only as it was meant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from saxflow.errors import BusyError, InputError, IntegrityError, NotFoundError
from saxflow.gcp.objects import Stored, Uri
from saxflow.pipeline.plans import find_plan, load_core, load_part, store_plan
from saxflow.pipeline.services import Services
from saxflow.plan import Plan

PARTS = ["core.json", "job.json", "publish.json", "servable.json", "startup.sh", "tpu.json"]


def stored(services: Services, name: str) -> dict[str, Stored]:
    prefix = Uri(services.settings.control_bucket, f"deployments/{name}/1000/")
    return {item.uri.name.rsplit("/", 1)[1]: item for item in services.objects.list(prefix)}


def test_what_was_never_stored_is_not_found(services: Services) -> None:
    assert find_plan(services, "nobody", "1000") is None


def test_every_part_is_there_and_pinned_by_the_core(
    services: Services, plan_of: Callable[..., Plan]
) -> None:
    reference = store_plan(services, plan_of("whole"))
    assert reference == find_plan(services, "whole", "1000")
    assert reference.plan == "gs://control/deployments/whole/1000/core.json"
    core = load_core(services, reference.plan, reference.object_generation, reference.sha256)
    found = stored(services, "whole")
    assert sorted(found) == PARTS
    for part, place in core["parts"].items():
        stat = found[part]
        assert (place["name"], place["generation"]) == (stat.uri.name, stat.generation)
        data = services.objects.read(stat.uri).data or b""
        assert place["sha256"] == hashlib.sha256(data).hexdigest()
    assert load_part(services, core, "publish.json")["model_id"] == "/sax/test/whole"


def test_the_argument_of_an_execution_names_the_plan(
    services: Services, plan_of: Callable[..., Plan]
) -> None:
    reference = store_plan(services, plan_of("argument"))
    argument = json.loads(reference.argument(reason="ttl"))
    assert argument == {
        "name": "argument",
        "generation": "1000",
        "attempt": 1,
        "plan": reference.plan,
        "object_generation": reference.object_generation,
        "sha256": reference.sha256,
        "reason": "ttl",
    }


def test_storing_twice_changes_nothing(services: Services, plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("twice")
    first = store_plan(services, plan)
    before = stored(services, "twice")
    assert store_plan(services, plan) == first
    assert stored(services, "twice") == before


def test_parts_of_a_dead_writer_are_taken_over(
    services: Services, plan_of: Callable[..., Plan]
) -> None:
    plan = plan_of("half")
    prefix = Uri("control", "deployments/half/1000/")
    same = services.objects.write(
        prefix.child("job.json"), plan.parts["job.json"], if_generation="0"
    )
    services.objects.write(prefix.child("servable.json"), b"{}", if_generation="0")
    assert find_plan(services, "half", "1000") is None
    reference = store_plan(services, plan)
    core = load_core(services, reference.plan, reference.object_generation, reference.sha256)
    assert core["parts"]["job.json"]["generation"] == same
    assert services.objects.read(prefix.child("servable.json")).data == plan.parts["servable.json"]


def test_a_later_attempt_replaces_an_earlier_one_and_never_the_reverse(
    services: Services, plan_of: Callable[..., Plan]
) -> None:
    first = store_plan(services, plan_of("later"))
    second = store_plan(services, plan_of("later", attempt=2))
    assert (first.attempt, second.attempt) == (1, 2)
    assert find_plan(services, "later", "1000") == second
    with pytest.raises(NotFoundError):
        load_core(services, first.plan, first.object_generation, first.sha256)
    with pytest.raises(BusyError, match=r"attempt 2 of later .* attempt 1 comes too late"):
        store_plan(services, plan_of("later"))


def test_racing_writers_agree_on_one_plan(services: Services, plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("race-plan")
    with ThreadPoolExecutor(8) as pool:
        references = set(pool.map(lambda _: store_plan(services, plan), range(8)))
    assert references == {find_plan(services, "race-plan", "1000")}


def test_only_the_plan_that_was_meant_is_loaded(
    services: Services, plan_of: Callable[..., Plan]
) -> None:
    reference = store_plan(services, plan_of("meant"))
    place = (reference.plan, reference.object_generation)
    with pytest.raises(IntegrityError, match="the caller meant 0000"):
        load_core(services, *place, "0000")
    with pytest.raises(InputError, match="is not in gs://control"):
        load_core(services, "gs://models/core.json", "1", reference.sha256)
    with pytest.raises(InputError, match="is not a Cloud Storage URI"):
        load_core(services, "/etc/passwd", "1", reference.sha256)
    with pytest.raises(NotFoundError):
        load_core(services, reference.plan, "1", reference.sha256)


def test_references_of_two_generations_differ(
    services: Services, plan_of: Callable[..., Plan]
) -> None:
    older = store_plan(services, plan_of("two"))
    newer = store_plan(services, plan_of("two", generation="2000"))
    assert replace(older, generation="2000").plan != newer.plan
    assert find_plan(services, "two", "1000") == older
