"""A storage server with the bucket `buck`, and one in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage

from .servers import Cloud, ServerProcess, serve_apart


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path / "storage")
    cloud.client.create_bucket("buck")
    yield cloud
    cloud.close()


@pytest.fixture
def bucket(cloud: Cloud) -> storage.Bucket:
    return cloud.client.bucket("buck")


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    with serve_apart(tmp_path) as running:
        yield running
