"""What Tasks and workers of the newest plan say, gathered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.errors import IntegrityError, NotFoundError
from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.pipeline.plans import store_plan
from saxflow.pipeline.services import Services
from saxflow.pipeline.worker_logs import worker_logs
from saxflow.plan import Plan


@pytest.fixture
def place(
    services: Services, plan_of: Callable[..., Plan], say: Callable[..., Event]
) -> Callable[[str], tuple[Uri, Uri]]:
    """Return a function that plans a deployment and tells where its Tasks and workers write."""

    def prepare(name: str) -> tuple[Uri, Uri]:
        plan = plan_of(name)
        store_plan(services, plan)
        say("manifest.accepted", name)
        checkpoint, cell = plan.core["checkpoint"], plan.core["cell"]
        tasks = Uri(checkpoint["bucket"], f"{checkpoint['directory']}/progress/")
        return tasks, Uri(cell["bucket"], cell["workers"])

    return prepare


def store(services: Services, uri: Uri, document: Any) -> None:
    services.objects.write(uri, json.dumps(document).encode(), if_generation=None)


def test_tasks_and_workers_speak(
    services: Services, place: Callable[[str], tuple[Uri, Uri]]
) -> None:
    tasks, workers = place("logs")
    running = {"state": "running", "bytes_done": 5, "bytes_total": 9, "failure": None}
    failed = {**running, "state": "failed", "failure": {"reason": "consolidated.01.pth is missing"}}
    store(services, tasks.child("0-of-3.json"), running)
    store(services, tasks.child("1-of-3.json"), failed)
    store(services, tasks.child("2-of-3.json"), {})
    store(services, workers.child("0.json"), {"worker": 0, "state": "ready", "log": "up\n"})
    said = [(entry["state"], entry["log"]) for entry in worker_logs(services, "logs")]
    assert said == [
        ("running", "5 of 9 bytes"),
        ("failed", "consolidated.01.pth is missing"),
        (None, "0 of 0 bytes"),
        ("ready", "up\n"),
    ]
    first, *_ = worker_logs(services, "logs")
    assert first["from"] == str(tasks.child("0-of-3.json"))


def test_a_rejected_generation_leaves_the_word_to_an_older_plan(
    services: Services, place: Callable[[str], tuple[Uri, Uri]], say: Callable[..., Event]
) -> None:
    _, workers = place("older-logs")
    say("manifest.rejected", "older-logs", generation="2000")
    store(services, workers.child("0.json"), {"state": "ready"})
    assert [entry["state"] for entry in worker_logs(services, "older-logs")] == ["ready"]


def test_without_a_plan_there_is_nobody_to_ask(
    services: Services, say: Callable[..., Event]
) -> None:
    say("manifest.rejected", "no-plan")
    with pytest.raises(NotFoundError, match="'no-plan' has no plan"):
        list(worker_logs(services, "no-plan"))


def test_a_damaged_word_is_named(
    services: Services, place: Callable[[str], tuple[Uri, Uri]]
) -> None:
    tasks, _ = place("damaged-logs")
    services.objects.write(tasks.child("0-of-1.json"), b'{"state"', if_generation=None)
    with pytest.raises(IntegrityError, match=r"0-of-1\.json is not JSON"):
        list(worker_logs(services, "damaged-logs"))
