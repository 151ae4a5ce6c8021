"""One embedded cloud with saxflow on it for all journeys of a module, and a subscriber."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from saxflow import events
from saxflow.events import Event
from saxflow.gcp import clients
from saxflow.gcp.objects import Objects, Uri
from saxflow.pipeline.services import Services
from saxflow.settings import load_settings
from saxflow.stack.laptop import Laptop

JOURNEY_SECONDS = 120.0


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Generator[Laptop]:
    """Return an embedded cloud that is up."""
    with Laptop(tmp_path_factory.mktemp("cloud")) as running:
        yield running


@pytest.fixture(scope="module")
def services(laptop: Laptop) -> Services:
    """Return clients of that cloud."""
    settings = load_settings(laptop.environ)
    return Services(settings, Objects(clients.storage_client(settings.project, settings.endpoints)))


class Subscriber:
    """A subscription to the events topic, read by Google's client; equal ids count once."""

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.received: list[Event] = []
        self._arrived: queue.Queue[Event] = queue.Queue()
        self._client = clients.subscriber_client(settings.endpoints)
        self._path = f"projects/{settings.project}/subscriptions/test-{uuid.uuid4().hex[:8]}"
        self._client.create_subscription(
            request={
                "name": self._path,
                "topic": settings.topic_path,
                "enable_message_ordering": True,
            }
        )
        self._pull = self._client.subscribe(self._path, callback=self._take)

    def _take(self, message: Any) -> None:
        self._arrived.put(events.from_message(message.data, dict(message.attributes)))
        message.ack()

    def until(self, deployment: str, *names: str, generation: str | None = None) -> list[Event]:
        """Return a deployment's events up to the first of these types."""
        deadline = time.monotonic() + JOURNEY_SECONDS
        mine: list[Event] = []
        for event in self._fresh(deadline):
            said = event.data
            if said["deployment"] != deployment or generation not in (None, said["generation"]):
                continue
            mine.append(event)
            if event.name in names:
                return mine
        raise AssertionError(f"none of {names} came; got {[event.name for event in mine]}")

    def _fresh(self, deadline: float) -> Iterator[Event]:
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._arrived.get(timeout=left)
            except queue.Empty:
                return
            if all(event.id != known.id for known in self.received):
                self.received.append(event)
                yield event

    def close(self) -> None:
        """Stop pulling and close the connection."""
        self._pull.cancel()
        self._pull.result()
        self._client.close()


@pytest.fixture
def subscriber(services: Services) -> Generator[Subscriber]:
    """Return a subscription that was there before anything happened."""
    opened = Subscriber(services)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def weights(services: Services, tiny_llama: Path) -> Uri:
    """Upload the tiny Llama's weights; return where they are."""
    place = Uri(services.settings.models_bucket, "tiny-llama")
    for name in ("consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model"):
        data = (tiny_llama / name).read_bytes()
        services.objects.write(place.child(name), data, if_generation=None)
    return place


@pytest.fixture(scope="module")
def manifest_text(tiny_llama: Path) -> str:
    """Return the example's manifest."""
    return (tiny_llama / "tiny-llama.yaml").read_text(encoding="utf-8")
