from collections.abc import Iterator
from pathlib import Path

import pytest

from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> Iterator[StorageServer]:
    """Cloud Storage on a loopback port with a bucket named `models`."""
    server = StorageServer(
        tmp_path / "storage", clock=RealClock(), faults=faults, publish=lambda *_: None
    )
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    from google.cloud import storage as client_library

    client = client_library.Client(project="local")
    client.create_bucket("models")
    yield server
    client.close()
    server.stop()
