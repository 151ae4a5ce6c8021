"""A worker's last word counts while it is fresh."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from saxflow.errors import IntegrityError
from saxflow.gcp.objects import Uri
from saxflow.pipeline.services import Services
from saxflow.pipeline.workers import Worker, read_workers

NOW = 1_800_000_000.0
Report = Callable[..., dict[str, Any]]


@pytest.fixture
def report(services: Services) -> Report:
    """Return a function that stores workers' words and returns the core that names the place."""

    def store(cell: str, *documents: dict[str, Any]) -> dict[str, Any]:
        prefix = Uri("cells", f"{cell}/workers/")
        for number, document in enumerate(documents):
            data = json.dumps(document).encode()
            services.objects.write(prefix.child(f"{number}.json"), data, if_generation=None)
        return {"cell": {"bucket": "cells", "workers": prefix.name}}

    return store


def word(number: int, state: str = "ready", age: float = 0, **more: Any) -> dict[str, Any]:
    said = datetime.fromtimestamp(NOW - age, UTC).isoformat().replace("+00:00", "Z")
    return {"worker": number, "state": state, "boot_id": "b", "time": said, **more}


def read(services: Services, core: dict[str, Any]) -> list[Worker]:
    return read_workers(replace(services, clock=lambda: NOW), core)


def test_workers_come_by_number(services: Services, report: Report) -> None:
    core = report("order", word(10), word(2, "server", log="loading"), word(0))
    assert read(services, core) == [
        Worker(0, "ready", "b", ""),
        Worker(2, "server", "b", "loading"),
        Worker(10, "ready", "b", ""),
    ]


def test_old_words_count_as_absent(services: Services, report: Report) -> None:
    stale = services.settings.state_stale_seconds
    core = report("stale", word(0, age=stale), word(1, age=stale + 1))
    assert [worker.worker for worker in read(services, core)] == [0]


def test_nobody_has_spoken(services: Services, report: Report) -> None:
    assert read(services, report("silent")) == []


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"worker": 0, "state": "ready"}, "no RFC 3339 time"),
        ({**word(0), "time": "yesterday"}, "no RFC 3339 time: .*yesterday"),
        ({"time": word(0)["time"], "state": "ready"}, "does not tell worker and state"),
        ({**word(0), "worker": None}, "does not tell worker and state"),
        ({**word(0), "worker": "first"}, "does not tell worker and state"),
    ],
)
def test_what_no_worker_writes_is_named(
    services: Services, report: Report, document: dict[str, Any], said: str
) -> None:
    with pytest.raises(IntegrityError, match=f"gs://cells/odd/workers/0.json.*{said}"):
        read(services, report("odd", document))
