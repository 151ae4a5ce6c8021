from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from saxflow.errors import ConfigurationError
from saxflow.local.cloud import LocalCloud, Ports
from saxflow.local.images import ImageRegistry

Sockets = Callable[[], set[str]]


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


@pytest.mark.parametrize("server", ["pubsub", "grpc", "rest"])
def test_a_port_that_is_taken_releases_those_before_it(
    tmp_path: Path, server: str, sockets: Sockets, eventually: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = sockets()
        ports = Ports(**{server: taken.getsockname()[1]})
        with pytest.raises(ConfigurationError, match="choose another"):
            LocalCloud(tmp_path, project="p", location="l", images=ImageRegistry(), ports=ports)
        eventually(lambda: sockets() <= before)


def test_a_cloud_that_was_never_started_releases_its_ports(
    tmp_path: Path, sockets: Sockets, eventually: Callable[..., None]
) -> None:
    before = sockets()
    cloud = LocalCloud(tmp_path, project="p", location="l", images=ImageRegistry())
    assert len(sockets() - before) >= 4
    cloud.stop()
    eventually(lambda: sockets() <= before)
