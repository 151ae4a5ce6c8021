"""Whole journeys by the hundred: the real Workflows, functions and SAX admin; cheap machines.

`installation` is what stands; `world` is what is done with it; `sight` looks without touching;
`invariants` says what must hold; `chaos` strikes.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from .installation import installed
from .world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Generator[World]:
    """Return a cloud with saxflow on it and the example's weights in it."""
    with installed(tmp_path_factory.mktemp("journeys"), tiny_llama) as world:
        yield world
