"""What several test groups share: recorded data, Meta's forward pass, a Cloud Storage, patience."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# Other processes of the machine must not decide whether an example was quick enough; nothing is
# written beside the sources.
settings.register_profile("saxflow", deadline=None, database=None)
settings.load_profile("saxflow")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def golden() -> Path:
    """Return the folder of what the real systems did."""
    return ROOT / "tests/data/golden"


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
def eventually() -> Callable[..., None]:
    """Return a function that waits until a condition holds which no service announces."""

    def wait(condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            pause.wait(0.01)

    return wait
