"""A whole installation small enough for a test: storage with heads, a SAX cell that tells stories,
and the real HTTP server in front."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from google.cloud.storage import Client

from saxflow.gcp.objects import Objects, Uri
from saxflow.head import Attempt, Head, Source
from saxflow.local.storage.server import StorageServer
from saxflow.pipeline.services import Services
from saxflow.sax import messages as m
from saxflow.serving.app import application
from saxflow.settings import ServingSettings, load_serving_settings, load_settings

from ...storyteller import Storyteller, story


@dataclass
class Installation:
    """A control bucket and the heads in it."""

    directory: Path
    services: Services
    servable: dict[str, Any]

    def deploy(
        self, name: str, cell: str | None, model: str = "/sax/test/story", **servable: Any
    ) -> str:
        """Write a head, serving from a cell at an address, or not yet; return the sax-root."""
        root = self.directory / f"root-{name}-{len(list(self.directory.iterdir()))}"
        serving = None
        if cell is not None:
            (root / "sax/test").mkdir(parents=True)
            location = m.Location(location=cell).SerializeToString()
            (root / "sax/test/location.proto").write_bytes(location)
            serving = Attempt("7", 1, sax_root=str(root), model_id=model, active_at=1000)
        head = Head(
            name,
            Source("manifests", f"{name}.yaml"),
            desired="7",
            serving=serving,
            candidate=None if serving else Attempt("7", 1, phase="conversion.started"),
        )
        self._write(f"deployments/{name}/head.json", head.encode())
        part = json.dumps({**self.servable, **servable}).encode()
        self._write(f"deployments/{name}/7/servable.json", part)
        return str(root)

    def _write(self, name: str, data: bytes) -> None:
        self.services.objects.write(Uri("control", name), data, if_generation=None)


@pytest.fixture
def installation(
    tmp_path: Path,
    storage: StorageServer,
    golden: Path,
    golden_servable: dict[str, Any],
    smallest_installation: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Generator[Installation]:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
    client = Client()
    settings = load_settings(smallest_installation)
    (tmp_path / "cells").mkdir()
    servable = golden_servable | {
        "class": "Llama",
        "input_len": 64,
        "max_new_tokens": 200,
        "tokenizer": f"file://{golden / 'tiny320.model'}",
    }
    yield Installation(tmp_path / "cells", Services(settings, Objects(client)), servable)
    client.close()


@pytest.fixture
def start_cell() -> Generator[Callable[..., Storyteller]]:
    stops: list[Callable[[], None]] = []

    def start(address: str = "127.0.0.1:0", **options: Any) -> Storyteller:
        teller = Storyteller(**options)
        stops.append(teller.start(address))
        return teller

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def storyteller(start_cell: Callable[..., Storyteller], installation: Installation) -> Storyteller:
    """A cell that the deployment `story` is served from."""
    teller = start_cell()
    installation.deploy("story", teller.address)
    return teller


class Door:
    """The HTTP server in a thread, and clients of it."""

    def __init__(self, settings: ServingSettings, services: Services) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(128)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        app = application(settings, lambda: services)
        config = uvicorn.Config(
            app, lifespan="on", log_level="warning", timeout_graceful_shutdown=5
        )
        self.server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self.server.run, args=([self._socket],))
        self._thread.start()
        plain = {"timeout": 60, "trust_env": False, "verify": False}
        self.http = httpx.Client(base_url=self.url, **plain)
        self.openai = openai.OpenAI(
            base_url=f"{self.url}/v1",
            api_key="one",
            max_retries=0,
            http_client=httpx.Client(**plain),
        )
        assert self.http.get("/healthz").status_code == 200

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.http.post(path, json=body)

    def error(self, response: httpx.Response) -> dict[str, Any]:
        """Return OpenAI's error object."""
        body = response.json()
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert body["error"]["message"]
        return body["error"]

    def close(self) -> None:
        self.http.close()
        self.openai.close()
        self.server.should_exit = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def open_door(installation: Installation) -> Generator[Callable[..., Door]]:
    doors: list[Door] = []

    def start(**changes: Any) -> Door:
        base = replace(load_serving_settings({}), head_seconds=0.0, patience_seconds=0.3)
        doors.append(Door(replace(base, **changes), installation.services))
        return doors[-1]

    yield start
    for door in doors:
        door.close()


@pytest.fixture
def door(open_door: Callable[..., Door], storyteller: Storyteller) -> Door:
    return open_door()


@pytest.fixture
def tell() -> Callable[[str, int], list[str]]:
    return story
