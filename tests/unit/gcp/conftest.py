"""The embedded storage server and Google's client, aimed at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage

from saxflow.gcp.clients import storage_client
from saxflow.gcp.objects import Objects
from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer
from saxflow.settings import Endpoints


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def server(tmp_path: Path, faults: Faults) -> Iterator[StorageServer]:
    running = StorageServer(
        tmp_path / "storage", clock=RealClock(), faults=faults, publish=lambda *_: None
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(server: StorageServer) -> Iterator[storage.Client]:
    built = storage_client("proj", Endpoints(storage=server.url))
    built.create_bucket("bkt")
    yield built
    built.close()


@pytest.fixture
def objects(client: storage.Client) -> Objects:
    return Objects(client)
