"""Discovery through objects in Cloud Storage, with Google's client."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from google.cloud.storage import Bucket, Client

from saxflow.errors import ConfigurationError, NotFoundError
from saxflow.local.storage.server import StorageServer
from saxflow.sax import Cell
from saxflow.sax import messages as m


@pytest.fixture
def bucket(storage: StorageServer, monkeypatch: pytest.MonkeyPatch) -> Generator[Bucket]:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
    client = Client()
    yield client.bucket("cells")
    client.close()


def put(bucket: Bucket, name: str, data: bytes) -> None:
    bucket.blob(f"llama/sax-root/sax/test/{name}").upload_from_string(data)


def test_a_cell_exists_by_its_metadata_object(bucket: Bucket, peer: Any) -> None:
    peer.answers["/sax.Admin/List"] = [b""]
    location = m.Location(location=peer.address).SerializeToString()
    with Cell.open("gs://cells/llama/sax-root/", "/sax/test") as cell:
        put(bucket, "location.proto", location)
        with pytest.raises(NotFoundError, match="there is no cell /sax/test"):
            cell.list()
        put(bucket, "METADATA", b"")
        assert cell.list() == ()
    with Cell.open("gs://cells/other", "/sax/test") as cell, pytest.raises(NotFoundError):
        cell.list()


def test_an_admin_that_never_was(bucket: Bucket) -> None:
    put(bucket, "METADATA", b"")
    with (
        Cell.open("gs://cells/llama/sax-root", "/sax/test") as cell,
        pytest.raises(NotFoundError, match=r"location\.proto"),
    ):
        cell.list()


def test_no_credentials_are_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with (
        Cell.open("gs://cells/llama/sax-root", "/sax/test") as cell,
        pytest.raises(ConfigurationError, match="no Google credentials"),
    ):
        cell.list()
