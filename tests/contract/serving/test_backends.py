"""Names, heads and a control bucket that does not always answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from saxflow.errors import CloudError, NotFoundError, RequestError, TransientError
from saxflow.pipeline.services import Services
from saxflow.serving import backends as backends_module
from saxflow.serving.backends import Backends
from saxflow.serving.deployments import Deployments
from saxflow.serving.readiness import Readiness


class Wiring:
    """Services that can be cut off: by an error, or by silence."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.down = False
        self.answers = threading.Event()
        self.answers.set()
        self.looks = 0

    def __call__(self) -> Services:
        self.looks += 1
        self.answers.wait()
        if self.down:
            raise CloudError("storage is down", service="storage", retryable=True)
        return self._services


@pytest.fixture
def wiring(installation: Any) -> Wiring:
    return Wiring(installation.services)


@pytest.fixture
def deployments(wiring: Wiring) -> Deployments:
    return Deployments(wiring, believe_seconds=0)


def find(deployments: Deployments, name: str) -> Any:
    return asyncio.run(Backends(deployments, patience_seconds=0).find(name))


def test_what_is_believed_is_not_looked_up(wiring: Wiring, installation: Any) -> None:
    now = [0.0]
    deployments = Deployments(wiring, believe_seconds=5, clock=lambda: now[0])
    root = installation.deploy("llama", "127.0.0.1:1")
    assert deployments.find("llama").sax_root == root
    looks = wiring.looks
    now[0] = 4.9
    assert deployments.find("llama").sax_root == root
    assert wiring.looks == looks
    moved = installation.deploy("llama", "127.0.0.1:2")
    assert deployments.find("llama", fresh=True).sax_root == moved
    now[0] = 10.0
    deployments.find("llama")
    assert wiring.looks > looks


def test_all_that_serves(deployments: Deployments, installation: Any) -> None:
    installation.deploy("b", "127.0.0.1:1")
    installation.deploy("a", "127.0.0.1:1")
    installation.deploy("c", None)
    installation.deploy("d", "127.0.0.1:1", vocab="many")
    assert [target.deployment for target in deployments.all()] == ["a", "b"]


def test_names_that_lead_nowhere(deployments: Deployments, installation: Any) -> None:
    installation.deploy("later", None)
    installation.deploy("one", "127.0.0.1:1", "/sax/test/same")
    installation.deploy("two", "127.0.0.1:1", "/sax/test/same")
    with pytest.raises(NotFoundError, match="nobody"):
        deployments.find("nobody")
    with pytest.raises(NotFoundError, match="/sax/test/none"):
        deployments.find("/sax/test/none")
    with pytest.raises(TransientError, match=r"later does not serve yet \(conversion\.started\)"):
        deployments.find("later")
    with pytest.raises(RequestError, match="one, two"):
        deployments.find("/sax/test/same")


def test_without_the_control_bucket_what_was_known_goes_on(
    deployments: Deployments, wiring: Wiring, installation: Any
) -> None:
    root = installation.deploy("llama", "127.0.0.1:1")
    assert find(deployments, "llama").sax_root == root
    wiring.down = True
    assert find(deployments, "llama").sax_root == root
    with pytest.raises(CloudError, match="storage is down"):
        find(deployments, "other")


def test_what_was_deleted_is_not_known_any_more(
    deployments: Deployments, wiring: Wiring, installation: Any
) -> None:
    installation.deploy("llama", "127.0.0.1:1")
    find(deployments, "llama")
    installation.deploy("llama", None)
    with pytest.raises(TransientError):
        find(deployments, "llama")
    wiring.down = True
    with pytest.raises(CloudError):
        find(deployments, "llama")


def test_a_silent_control_bucket_is_not_waited_for(
    deployments: Deployments, wiring: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends_module, "LOOK_SECONDS", 0.05)
    wiring.answers.clear()
    backends = Backends(deployments, patience_seconds=0)

    async def look() -> tuple[str, str | None]:
        with pytest.raises(CloudError) as caught:
            await backends.find("llama")
        reason = await Readiness(backends).ready()
        wiring.answers.set()
        return str(caught.value), reason

    words, reason = asyncio.run(look())
    assert "Cloud Storage does not answer within 0.05 s" in words
    assert reason is not None
    assert "does not answer" in reason


def test_a_tokenizer_that_cannot_be_read_only_stops_counting(
    deployments: Deployments, installation: Any, tmp_path: Any
) -> None:
    installation.deploy("llama", "127.0.0.1:1", tokenizer=f"file://{tmp_path}/none.model")
    backends = Backends(deployments, patience_seconds=0)

    async def look() -> Any:
        return await backends.tokenizer(await backends.find("llama"))

    assert asyncio.run(look()) is None
