"""The references for manifests and events name everything there is, and their examples hold."""

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from saxflow import catalog, events
from saxflow.manifest import Manifest, parse

DOCS = Path(__file__).parents[2] / "docs"
MANIFEST = (DOCS / "manifest.md").read_text()
EVENTS = (DOCS / "events.md").read_text()


def leaves(section: type[BaseModel], path: str = "") -> list[str]:
    found: list[str] = []
    for name, field in section.model_fields.items():
        key = f"{path}{field.alias or name}"
        inner = [
            kind
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        found += leaves(inner[0], f"{key}.") if inner else [key]
    return found


@pytest.mark.parametrize("field", leaves(Manifest))
def test_every_field_has_a_row(field: str) -> None:
    assert f"\n| `{field}` |" in MANIFEST


def test_no_row_is_about_nothing() -> None:
    table = MANIFEST.split("## Fields")[1].split("\n## ")[0]
    assert set(re.findall(r"\n\| `([A-Za-z0-9.]+)` \|", table)) == set(leaves(Manifest))


@pytest.mark.parametrize("size", catalog.SIZES.values(), ids=lambda size: size.name)
def test_every_size_has_a_row(size: catalog.Size) -> None:
    row = f"| {size.name} | {size.accelerator} | `{size.directory}` | `{size.model}` |"
    assert row in MANIFEST


def test_the_smallest_manifest_is_one() -> None:
    smallest = MANIFEST.split("```yaml\n")[1].split("```")[0]
    assert parse(smallest.encode(), source_name="llama2-7b.yaml").name == "llama2-7b"


@pytest.mark.parametrize("row", events.TYPES.values(), ids=lambda row: row.name)
def test_every_type_has_a_row(row: events.EventType) -> None:
    assert f"| `{row.name}` | {row.state} | {row.meaning} |" in EVENTS


@pytest.mark.parametrize("state", sorted(set(events.STATES) - {"unknown"}))
def test_every_state_is_drawn(state: str) -> None:
    drawing = EVENTS.split("```\n")[1]
    assert state.upper() in drawing


def test_the_example_event_is_one() -> None:
    example = EVENTS.split("```json\n")[1].split("```")[0]
    assert events.from_json(json.loads(example)).name == "conversion.progressed"


def test_links_lead_somewhere() -> None:
    for text in (MANIFEST, EVENTS):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("https://") or (DOCS / target).exists(), target
