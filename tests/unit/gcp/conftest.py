"""Google's client, aimed at the embedded storage server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.cloud import storage

from saxflow.gcp.clients import storage_client
from saxflow.gcp.objects import Objects
from saxflow.local.storage.server import StorageServer
from saxflow.settings import Endpoints


@pytest.fixture
def client(storage_server: StorageServer) -> Iterator[storage.Client]:
    built = storage_client("proj", Endpoints(storage=storage_server.url))
    built.create_bucket("bkt")
    yield built
    built.close()


@pytest.fixture
def objects(client: storage.Client) -> Objects:
    return Objects(client)
