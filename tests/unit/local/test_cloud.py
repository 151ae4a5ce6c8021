from __future__ import annotations

from pathlib import Path

import pytest

from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry


def test_environ_names_every_endpoint_and_keeps_proxies_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "example.com,localhost")
    monkeypatch.delenv("no_proxy", raising=False)
    cloud = LocalCloud(tmp_path, project="p", location="l", images=ImageRegistry({"i": ["x"]}))
    environ = cloud.environ()
    cloud.start()
    cloud.stop()
    assert environ["STORAGE_EMULATOR_HOST"] == environ["TENSORSTORE_GCS_HTTP_URL"]
    assert environ["PUBSUB_EMULATOR_HOST"] != environ["SAXFLOW_GRPC_ENDPOINT"]
    assert environ["SAXFLOW_REST_ENDPOINT"].startswith("http://127.0.0.1:")
    assert environ["NO_PROXY"] == "example.com,localhost,127.0.0.1,127.0.0.0/8"
    assert environ["no_proxy"] == "127.0.0.1,127.0.0.0/8,localhost"
    assert ImageRegistry.load(tmp_path / "images.json").command("i") == ["x"]
