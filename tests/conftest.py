"""What several test groups share.

The recorded data and Meta's forward pass; the least installation, a Cloud Storage and the addresses
of admins; patience with what no service announces.
"""

from __future__ import annotations

import importlib.util
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer
from saxflow.sax import messages as m

# Other processes of the machine must not decide whether an example was quick enough; nothing is
# written beside the sources.
settings.register_profile("saxflow", deadline=None, database=None)
settings.load_profile("saxflow")

# A shell hands an ignored Ctrl-C on to what it starts in the background, and that to its children.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
BUCKETS = ("manifests", "control", "models", "cells")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of what the real systems did."""
    return ROOT / "tests/data/golden"


@pytest.fixture(scope="session")
def golden_step(golden: Path) -> Path:
    """Return the golden model as a checkpoint, its step directory."""
    return golden / "tiny_mha_2shards/pax/checkpoint_00000000"


@pytest.fixture(scope="session")
def golden_servable() -> dict[str, Any]:
    """Return what a servable says of the golden model: token ids in and out, exact arithmetic."""
    return {
        "layers": 2,
        "heads": 4,
        "kv_heads": 4,
        "head_dim": 16,
        "model_dim": 64,
        "hidden_dim": 192,
        "vocab": 320,
        "tokenizer": "ids:",
        "compute_dtype": "float32",
    }


@pytest.fixture(scope="session")
def tiny_llama() -> Path:
    """Return the folder of the example model."""
    return ROOT / "examples/tiny-llama"


@pytest.fixture(scope="session")
def meta_llama(tiny_llama: Path) -> ModuleType:
    """Return the example's `llama.py`, Meta's forward pass in plain torch, on one thread."""
    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("tiny_llama_model", tiny_llama / "llama.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def smallest_installation() -> dict[str, str]:
    """Return the least that an installation is told: its project, and the buckets of `storage`."""
    return {
        "SAXFLOW_PROJECT": "proj",
        **{f"SAXFLOW_{name.upper()}_BUCKET": name for name in BUCKETS},
    }


@pytest.fixture
def faults() -> Faults:
    """Return faults, none armed; `storage` obeys them."""
    return Faults()


@pytest.fixture
def storage_server(tmp_path: Path, faults: Faults) -> Iterator[StorageServer]:
    """Return Cloud Storage on a loopback port; a client has to be told where it is."""
    server = StorageServer(
        tmp_path / "storage", clock=RealClock(), faults=faults, publish=lambda *_: None
    )
    for name in BUCKETS:
        server.store.create_bucket(name, "local", {})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def storage(storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch) -> StorageServer:
    """Return Cloud Storage where every client of this process looks for it.

    Its buckets are `manifests`, `control`, `models` and `cells`.
    """
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.url)
    return storage_server


@pytest.fixture
def announce(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that writes location.proto for an admin, and returns the sax-root."""
    directory = tmp_path / "sax-root/sax/test"
    directory.mkdir(parents=True)

    def write(address: str) -> str:
        location = m.Location(location=address)
        (directory / "location.proto").write_bytes(location.SerializeToString())
        return str(tmp_path / "sax-root")

    return write


@pytest.fixture
def dead_address() -> Iterator[str]:
    """Return an address where a socket is bound, but nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Return a function that waits until a condition holds which no service announces."""

    def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            pause.wait(0.01)

    return wait
