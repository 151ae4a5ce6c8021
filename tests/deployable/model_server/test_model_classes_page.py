"""docs/model-classes.md speaks of every size, every stock class and every key there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from saxflow import catalog
from saxflow.sax.servable import Servable


@pytest.fixture
def page(model_server: Path) -> str:
    return (model_server.parents[1] / "docs/model-classes.md").read_text(encoding="utf-8")


def test_every_size_has_its_row_and_accelerator(page: str) -> None:
    rows = dict(re.findall(r"^\| (\w+) \| (\S+) \|", page, flags=re.MULTILINE))
    expected = {name: size.accelerator for name, size in catalog.SIZES.items()}
    assert {name: rows.get(name) for name in expected} == expected


def test_every_stock_class_is_explained(page: str) -> None:
    names = {path.rpartition(".")[2] for path in catalog.STOCK_CLASSES}
    assert names <= set(re.findall(r"`(LLaMA\w+)`", page))


def test_every_key_of_the_servable_is_explained(page: str) -> None:
    keys = set(Servable.__dataclass_fields__) - {"class_name", "model_path"}
    assert keys <= set(re.findall(r"`(\w+)`", page))


def test_every_attribute_that_is_set_is_explained(page: str, model_server: Path) -> None:
    module = ast.parse((model_server / "saxflow.py").read_text())
    strings = {n.value for n in ast.walk(module) if isinstance(n, ast.Constant)}
    attributes = {s for s in strings if isinstance(s, str) and re.fullmatch(r"[A-Z]+_[A-Z_]+", s)}
    implied = {"EXTRA_INPUTS", "TOKENIZED_INPUT", "TOKENIZED_OUTPUT"}
    assert attributes - set(re.findall(r"`(\w+)`", page)) == implied
