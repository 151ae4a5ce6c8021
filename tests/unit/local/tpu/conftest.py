"""Surroundings without images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from saxflow.local.images import ImageRegistry
from saxflow.local.surroundings import Surroundings


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    ImageRegistry({}).save(tmp_path / "images.json")
    return Surroundings(tmp_path, {"PATH": os.environ["PATH"]}, tmp_path / "images.json")
