"""An embedded cloud, and the golden weights where a manifest names them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saxflow.gcp.clients import storage_client
from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry
from saxflow.local.storage.server import StorageServer


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """Return an embedded cloud that is up: project `proj`, without images."""
    running = LocalCloud(
        tmp_path_factory.mktemp("cloud"),
        project="proj",
        location="us-central1",
        images=ImageRegistry(),
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture
def golden_weights(storage: StorageServer, golden: Path) -> None:
    """Upload to gs://models/tiny, and the tokenizer to gs://models/tokenizer.model."""
    client = storage_client("proj")
    bucket = client.bucket("models")
    for path in (golden / "tiny_mha_2shards/meta").iterdir():
        bucket.blob(f"tiny/{path.name}").upload_from_filename(str(path))
    bucket.blob("tokenizer.model").upload_from_filename(str(golden / "tiny320.model"))
    client.close()
