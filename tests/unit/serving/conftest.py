"""Heads in a control bucket and a model that says what it is told to, both behind their real wires."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.cloud import storage

from saxflow.gcp.objects import Objects, Uri
from saxflow.head import Attempt, Head
from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.listing import Query
from saxflow.local.storage.server import StorageServer
from saxflow.pipeline.services import Services
from saxflow.sax import messages as m
from saxflow.serving.backends import Backends
from saxflow.serving.deployments import Deployments
from saxflow.settings import load_settings

from ...storyteller import Storyteller

MODEL = "/sax/test/story"


@pytest.fixture(scope="module")
def started_teller() -> Iterator[Storyteller]:
    """Return a model that listens."""
    teller = Storyteller(models=None)
    stop = teller.start()
    yield teller
    stop()


@pytest.fixture
def teller(started_teller: Storyteller) -> Storyteller:
    """Return a model that says `5,6,7`."""
    started_teller.pieces, started_teller.refusals, started_teller.asked = ["5,", "6,", "7"], [], []
    started_teller.gate.set()
    started_teller.left.clear()
    return started_teller


class Installation:
    """A control bucket, heads in it, and how often anybody looked there."""

    def __init__(
        self, directory: Path, settings: Mapping[str, str], servable: Mapping[str, Any]
    ) -> None:
        self.faults = Faults()
        self.server = StorageServer(
            directory / "storage", clock=RealClock(), faults=self.faults, publish=lambda *_: None
        )
        self.server.start()
        self.server.store.create_bucket("control", "local", {})
        self._cells = directory / "cells"
        self._client = storage.Client(
            project="local",
            client_options={"api_endpoint": self.server.url},
            use_auth_w_custom_endpoint=False,
        )
        self._services = Services(load_settings(settings), Objects(self._client))
        self._servable = servable
        self.looks = 0
        self._roots = 0

    def wiring(self) -> Services:
        """Return the services, as `Deployments` asks for them."""
        self.looks += 1
        return self._services

    def begin(self) -> None:
        """Forget every head."""
        self.looks = 0
        self.faults.clear()
        for record in self.server.store.list("control", Query())[0]:
            self.server.store.delete("control", record.name)

    def put(self, name: str, data: bytes) -> None:
        """Write an object of the control bucket."""
        self._services.objects.write(Uri("control", name), data, if_generation=None)

    def deploy(
        self, name: str, address: str, model: str = MODEL, *, generation: str = "7", **servable: Any
    ) -> str:
        """Let a deployment serve from a cell at an address; return its sax-root."""
        self._roots += 1
        root = self._cells / str(self._roots)
        (root / "sax/test").mkdir(parents=True)
        location = m.Location(location=address).SerializeToString()
        (root / "sax/test/location.proto").write_bytes(location)
        serving = Attempt(generation, 1, sax_root=str(root), model_id=model, active_at=1000.9)
        self.head(Head(name, desired=generation, serving=serving))
        part = json.dumps({**self._servable, **servable}).encode()
        self.put(f"deployments/{name}/{generation}/servable.json", part)
        return str(root)

    def head(self, head: Head) -> None:
        """Write a head."""
        self.put(f"deployments/{head.name}/head.json", head.encode())

    def close(self) -> None:
        """Stop the storage server."""
        self._client.close()
        self.server.stop()


@pytest.fixture(scope="module")
def running_installation(
    tmp_path_factory: pytest.TempPathFactory,
    smallest_installation: dict[str, str],
    golden_servable: dict[str, Any],
) -> Iterator[Installation]:
    """Return a control bucket that is up."""
    servable = golden_servable | {"class": "Llama", "input_len": 8, "max_new_tokens": 20}
    directory = tmp_path_factory.mktemp("installation")
    installation = Installation(directory, smallest_installation, servable)
    yield installation
    installation.close()


@pytest.fixture
def installation(running_installation: Installation) -> Installation:
    """Return a control bucket without a head in it."""
    running_installation.begin()
    return running_installation


@pytest.fixture
def deployments(installation: Installation) -> Deployments:
    """Return deployments that believe nothing for long."""
    return Deployments(installation.wiring, believe_seconds=0)


@pytest.fixture
def make_backends(installation: Installation) -> Callable[..., Backends]:
    """Return a function that makes backends inside a running event loop."""

    def make(believe_seconds: float = 60.0) -> Backends:
        deployments = Deployments(installation.wiring, believe_seconds=believe_seconds)
        return Backends(deployments, patience_seconds=0.0)

    return make
