"""A container engine with one image that does what its arguments say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saxflow.local.images import ImageRegistry
from saxflow.local.vm.containers import Engine
from saxflow.local.vm.docker import Docker, Reply


@pytest.fixture
def make_engine(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Return a function that makes an engine over the same directory, as after a reboot."""
    engines: list[Engine] = []

    def make() -> Engine:
        registry = ImageRegistry({"sh": ["/bin/sh", "-c"], "sleep": ["sleep"]})
        env = {"PATH": os.environ["PATH"], "BASE": "base"}
        engines.append(Engine(tmp_path / "containers", lambda: registry, env))
        return engines[-1]

    yield make
    for engine in engines:
        for container in engine.list():
            engine.remove(container.name, force=True)


@pytest.fixture
def engine(make_engine: Callable[[], Engine]) -> Engine:
    return make_engine()


@pytest.fixture
def docker(engine: Engine) -> Callable[..., Reply]:
    """Return a function that carries out one docker command line."""
    command = Docker(engine)

    def call(*argv: str, stdin: str = "") -> Reply:
        return command(list(argv), stdin)

    return call
