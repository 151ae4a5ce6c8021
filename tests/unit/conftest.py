"""The golden weights where a manifest names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from saxflow.gcp.clients import storage_client
from saxflow.local.storage.server import StorageServer


@pytest.fixture
def golden_weights(storage: StorageServer, golden: Path) -> None:
    """Upload to gs://models/tiny, and the tokenizer to gs://models/tokenizer.model."""
    client = storage_client("proj")
    bucket = client.bucket("models")
    for path in (golden / "tiny_mha_2shards/meta").iterdir():
        bucket.blob(f"tiny/{path.name}").upload_from_filename(str(path))
    bucket.blob("tokenizer.model").upload_from_filename(str(golden / "tiny320.model"))
    client.close()
