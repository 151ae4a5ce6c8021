"""Storage events, from Google's storage client to functions-framework and to plain HTTP targets."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage

from saxflow.local.children import ChildService, function_command, reserved_port
from saxflow.local.clock import RealClock, VirtualClock
from saxflow.local.eventarc import Eventarc, Trigger
from saxflow.local.faults import Faults
from saxflow.local.http import HttpServer, Request, Response
from saxflow.local.storage.server import StorageServer

FINALIZED = "google.cloud.storage.object.v1.finalized"
DELETED = "google.cloud.storage.object.v1.deleted"
FUNCTION = """
import json, os
import functions_framework
from cloudevents.http import CloudEvent

@functions_framework.cloud_event
def record(event: CloudEvent) -> None:
    path = os.environ["RECORD"]
    attributes = {key: event[key] for key in event}
    with open(path, "a") as file:
        print(json.dumps([attributes, event.data]), file=file)
    if event.data["name"] == "flaky" and not os.path.exists(path + ".failed"):
        open(path + ".failed", "w").close()
        raise RuntimeError("deliver this again")
"""


class Target:
    """An HTTP endpoint that remembers what it got and answers what it is told."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[tuple[dict[str, str], Any]] = []
        self.statuses: list[int] = []
        self.changed = threading.Condition()
        self.server = HttpServer(self._handle, port=port)
        self.server.start()

    def _handle(self, request: Request) -> Response:
        headers = {key.lower(): value for key, value in request.headers.items()}
        body = json.loads(request.body.read())
        with self.changed:
            self.got.append((headers, body))
            self.changed.notify_all()
            return Response(self.statuses.pop(0) if self.statuses else 204)

    def wait(self, count: int) -> list[tuple[dict[str, str], Any]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.got) >= count, timeout=60), self.got
            return list(self.got)


class Cloud:
    def __init__(self, directory: Path, clock: Any = None) -> None:
        self.faults = Faults()
        clock = clock or RealClock()
        self.storage = StorageServer(
            directory / "storage", clock=clock, faults=self.faults, publish=lambda *message: None
        )
        self.eventarc = Eventarc(
            directory / "eventarc",
            clock=clock,
            faults=self.faults,
            storage_root=lambda: self.storage.url,
        )
        self.storage.listen(self.eventarc.on_event)
        self.storage.start()
        self.eventarc.start()
        self.client = storage.Client(
            project="p",
            client_options={"api_endpoint": self.storage.url},
            use_auth_w_custom_endpoint=False,
        )

    def trigger(self, name: str, url: str, event_type: str = FINALIZED) -> None:
        self.eventarc.add_trigger(Trigger(name, "buck", event_type, url))

    def upload(self, name: str, data: str = "x") -> storage.Blob:
        blob = self.client.bucket("buck").blob(name)
        blob.upload_from_string(data)
        return blob

    def close(self) -> None:
        self.client.close()
        self.eventarc.stop()
        self.storage.stop()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path)
    cloud.client.create_bucket("buck")
    yield cloud
    cloud.close()


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    yield target
    target.server.stop()


def test_a_function_gets_what_eventarc_sends(
    cloud: Cloud, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    (tmp_path / "main.py").write_text(FUNCTION)
    record = tmp_path / "record"
    record.touch()
    command = function_command(tmp_path, "record", "cloudevent")
    environ = {"RECORD": str(record), "PATH": ""}
    function = ChildService("record", command, environ, tmp_path / "logs" / "record.log")
    cloud.trigger("created", function.url)
    cloud.trigger("removed", function.url, DELETED)
    blob = cloud.upload("in/é 1.yaml")
    eventually(lambda: cloud.eventarc.pending() == 0)
    blob.delete()
    eventually(lambda: cloud.eventarc.pending() == 0)
    cloud.upload("flaky")
    eventually(lambda: cloud.eventarc.pending() == 0)
    function.stop()
    events = [json.loads(line) for line in record.read_text().splitlines()]
    (first, data), (second, _), (third, _), (fourth, _) = events
    assert first["type"] == FINALIZED
    assert first["source"] == "//storage.googleapis.com/projects/_/buckets/buck"
    assert first["subject"].startswith("objects/in/")
    assert (first["specversion"], first["bucket"]) == ("1.0", "buck")
    assert data["name"] == "in/é 1.yaml"
    assert (data["generation"], data["size"]) == (str(blob.generation), "1")
    assert second["type"] == DELETED
    assert third == fourth, "what a function raised on comes again, the same"


def test_an_overwrite_deletes_the_old_generation(cloud: Cloud, target: Target) -> None:
    cloud.trigger("removed", target.server.url, DELETED)
    old = cloud.upload("o").generation
    cloud.upload("o")
    ((headers, data),) = target.wait(1)
    assert (headers["ce-type"], data["generation"]) == (DELETED, str(old))


def test_only_the_bucket_and_type_of_the_trigger(
    cloud: Cloud, target: Target, eventually: Callable[..., None]
) -> None:
    cloud.client.create_bucket("other").blob("x").upload_from_string("x")
    cloud.trigger("created", target.server.url)
    cloud.client.bucket("other").blob("y").upload_from_string("y")
    cloud.upload("mine").delete()
    ((_, data),) = target.wait(1)
    assert data["name"] == "mine"
    eventually(lambda: cloud.eventarc.pending() == 0)
    assert len(target.got) == 1


@pytest.mark.parametrize("status", [500, 503, 404, 429])
def test_refused_events_come_again(
    cloud: Cloud, target: Target, status: int, eventually: Callable[..., None]
) -> None:
    target.statuses = [status]
    cloud.trigger("created", target.server.url)
    cloud.upload("o")
    first, second = target.wait(2)
    assert first[0]["ce-id"] == second[0]["ce-id"]
    eventually(lambda: cloud.eventarc.pending() == 0)


def test_a_target_may_come_up_later(cloud: Cloud) -> None:
    with reserved_port() as held:
        port = held.getsockname()[1]
        cloud.trigger("created", f"http://127.0.0.1:{port}/path")
        cloud.upload("o")
        target = Target(port)
        target.wait(1)
        target.server.stop()


def test_unacknowledged_events_survive_a_restart(
    tmp_path: Path, eventually: Callable[..., None], dead_address: str
) -> None:
    first = Cloud(tmp_path)
    first.client.create_bucket("buck")
    first.trigger("created", f"http://{dead_address}")
    first.upload("o")
    assert first.eventarc.pending() == 1
    first.close()
    second, target = Cloud(tmp_path), Target()
    second.trigger("created", target.server.url)
    ((_, data),) = target.wait(1)
    assert data["name"] == "o"
    eventually(lambda: second.eventarc.pending() == 0)
    second.close()
    target.server.stop()


def test_an_event_that_cannot_be_written_down_is_delivered_all_the_same(
    cloud: Cloud, target: Target, tmp_path: Path
) -> None:
    cloud.trigger("created", target.server.url)
    target.statuses = [503]
    (tmp_path / "eventarc").rmdir()
    cloud.upload("o")
    assert [data["name"] for _, data in target.wait(2)] == ["o", "o"]


def test_events_are_given_up_after_a_day(
    tmp_path: Path, eventually: Callable[..., None], dead_address: str
) -> None:
    clock = VirtualClock()
    cloud = Cloud(tmp_path, clock)
    cloud.client.create_bucket("buck")
    cloud.trigger("created", f"http://{dead_address}")
    cloud.upload("o")
    clock.advance(24 * 3600 + 1)
    eventually(lambda: cloud.eventarc.pending() == 0)
    cloud.close()


def test_faults_duplicate_and_reorder(cloud: Cloud, target: Target) -> None:
    cloud.trigger("created", target.server.url)
    cloud.faults.arm("eventarc", "deliver", "execute-and-timeout", contains='"name": "twice"')
    for name, seconds in (("late", 0.3), ("never", 3600)):
        cloud.faults.arm(
            "eventarc", "deliver", "stall-always", contains=f'"name": "{name}"',
            stall_seconds=seconds,
        )  # fmt: skip
    for name in ("never", "late", "early", "twice"):
        cloud.upload(name)
    names = [data["name"] for _, data in target.wait(4)]
    assert sorted(names) == ["early", "late", "twice", "twice"], "those after `never` overtake it"
