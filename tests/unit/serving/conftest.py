"""Heads in a control bucket and a model that says what it is told to, both behind their real wires."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import storage

from saxflow.gcp.objects import Objects, Uri
from saxflow.head import Attempt, Head
from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.listing import Query
from saxflow.local.storage.server import StorageServer
from saxflow.pipeline.services import Services
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import generic_handlers
from saxflow.serving.backends import Backends
from saxflow.serving.deployments import Deployments
from saxflow.settings import load_settings

MODEL = "/sax/test/story"
SERVABLE = {
    "class": "Llama",
    "layers": 2,
    "heads": 4,
    "kv_heads": 4,
    "head_dim": 16,
    "model_dim": 64,
    "hidden_dim": 192,
    "vocab": 320,
    "input_len": 8,
    "max_new_tokens": 20,
    "tokenizer": "ids:",
}


@dataclass
class Teller:
    """A cell of one model: admin and model server in one.

    Args:
        pieces: what the model says, whatever it is asked.
        refusals: answered call by call before anything is said.
        asked: every request, as it came.
        gate: the model speaks only while it is set.
        left: set when a streaming call has ended.
    """

    address: str = ""
    pieces: list[str] = field(default_factory=lambda: ["5,", "6,", "7"])
    refusals: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    asked: list[m.GenerateRequest] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Be as at first."""
        self.pieces, self.refusals, self.asked = ["5,", "6,", "7"], [], []
        self.gate.set()
        self.left.clear()

    def watch_loc(self, request: m.WatchLocRequest, context: Any) -> m.WatchLocResponse:
        if request.seqno:
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait()
        change = m.WatchResult.Mutation(addition=self.address)
        return m.WatchLocResponse(
            admin_server_id="a", result=m.WatchResult(next_seqno=1, changelog=[change])
        )

    def generate(self, request: m.GenerateRequest, context: Any) -> m.GenerateResponse:
        text = "".join(self._said(request, context))
        return m.GenerateResponse(texts=[m.DecodedText(text=text, score=-1.5)])

    def generate_stream(
        self, request: m.GenerateRequest, context: Any
    ) -> Iterator[m.GenerateStreamResponse]:
        context.add_callback(self.left.set)
        length = 0
        for piece in self._said(request, context):
            item = m.GenerateStreamItem(text=piece, prefix_len=length, scores=[-1.5])
            length += len(piece)
            yield m.GenerateStreamResponse(items=[item])

    def _said(self, request: m.GenerateRequest, context: Any) -> Iterator[str]:
        self.asked.append(request)
        if self.refusals:
            context.abort(*self.refusals.pop(0))
        for piece in self.pieces:
            self.gate.wait()
            yield piece


@pytest.fixture(scope="module")
def started_teller() -> Iterator[Teller]:
    """Return a model that listens."""
    teller = Teller()
    server = grpc.server(futures.ThreadPoolExecutor(32), options=(("grpc.so_reuseport", 0),))
    behaviors = {
        methods.WATCH_LOC: teller.watch_loc,
        methods.GENERATE: teller.generate,
        methods.GENERATE_STREAM: teller.generate_stream,
    }
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    teller.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield teller
    teller.gate.set()
    server.stop(0).wait()


@pytest.fixture
def teller(started_teller: Teller) -> Teller:
    """Return a model that says `5,6,7`."""
    started_teller.begin()
    return started_teller


class Installation:
    """A control bucket, heads in it, and how often anybody looked there."""

    def __init__(self, directory: Path) -> None:
        self.faults = Faults()
        self.server = StorageServer(
            directory / "storage", clock=RealClock(), faults=self.faults, publish=lambda *_: None
        )
        self.server.start()
        self.server.store.create_bucket("control", "local", {})
        self._cells = directory / "cells"
        self._client = storage.Client(
            project="local",
            client_options={"api_endpoint": self.server.url},
            use_auth_w_custom_endpoint=False,
        )
        names = {
            f"SAXFLOW_{kind}_BUCKET": kind.lower()
            for kind in ("MANIFESTS", "CONTROL", "MODELS", "CELLS")
        }
        self._services = Services(
            load_settings({"SAXFLOW_PROJECT": "local", **names}), Objects(self._client)
        )
        self.looks = 0
        self._roots = 0

    def wiring(self) -> Services:
        """Return the services, as `Deployments` asks for them."""
        self.looks += 1
        return self._services

    def begin(self) -> None:
        """Forget every head."""
        self.looks = 0
        self.faults.clear()
        for record in self.server.store.list("control", Query())[0]:
            self.server.store.delete("control", record.name)

    def put(self, name: str, data: bytes) -> None:
        """Write an object of the control bucket."""
        self._services.objects.write(Uri("control", name), data, if_generation=None)

    def deploy(
        self, name: str, address: str, model: str = MODEL, *, generation: str = "7", **servable: Any
    ) -> str:
        """Let a deployment serve from a cell at an address; return its sax-root."""
        self._roots += 1
        root = self._cells / str(self._roots)
        (root / "sax/test").mkdir(parents=True)
        location = m.Location(location=address).SerializeToString()
        (root / "sax/test/location.proto").write_bytes(location)
        serving = Attempt(generation, 1, sax_root=str(root), model_id=model, active_at=1000.9)
        self.head(Head(name, desired=generation, serving=serving))
        part = json.dumps({**SERVABLE, **servable}).encode()
        self.put(f"deployments/{name}/{generation}/servable.json", part)
        return str(root)

    def head(self, head: Head) -> None:
        """Write a head."""
        self.put(f"deployments/{head.name}/head.json", head.encode())

    def close(self) -> None:
        """Stop the storage server."""
        self._client.close()
        self.server.stop()


@pytest.fixture(scope="module")
def running_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return a control bucket that is up."""
    installation = Installation(tmp_path_factory.mktemp("installation"))
    yield installation
    installation.close()


@pytest.fixture
def installation(running_installation: Installation) -> Installation:
    """Return a control bucket without a head in it."""
    running_installation.begin()
    return running_installation


@pytest.fixture
def deployments(installation: Installation) -> Deployments:
    """Return deployments that believe nothing for long."""
    return Deployments(installation.wiring, believe_seconds=0)


@pytest.fixture
def make_backends(installation: Installation) -> Callable[..., Backends]:
    """Return a function that makes backends inside a running event loop."""

    def make(believe_seconds: float = 60.0) -> Backends:
        deployments = Deployments(installation.wiring, believe_seconds=believe_seconds)
        return Backends(deployments, patience_seconds=0.0)

    return make
