"""The JSON Schema and the parser agree, and the stored schemas are current."""

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from saxflow import events
from saxflow.errors import ManifestError
from saxflow.manifest import json_schema, parse

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
FULL: dict[str, Any] = {
    "apiVersion": "saxflow/v1",
    "name": "tiny",
    "weights": {
        "source": "gs://my-models/tiny",
        "sha256": {"consolidated.00.pth": "0" * 64},
        "tokenizer": "gs://my-models/tokenizer.model",
    },
    "model": {"size": "7b", "dtype": "bfloat16"},
    "checkpoint": {"destination": "gs://my-models/out"},
    "tpu": {
        "acceleratorType": "v5litepod-4",
        "zones": ["us-central1-a"],
        "allowCrossRegion": False,
        "runtimeVersion": "v2-alpha-tpuv5-lite",
        "provisioning": "reserved",
        "reservation": "mine",
        "validUntil": "6h",
    },
    "serve": {
        "cell": "/sax/test",
        "model": "llama27b",
        "maxInputTokens": 10,
        "maxNewTokens": 10,
        "batchSize": 1,
        "stream": True,
        "modelPath": "a.b.C",
        "smokeTest": {"prompt": "p", "contains": "c"},
    },
    "lifecycle": {"ttl": "8h", "onFailure": "keep", "replace": "auto", "maxHourlyCost": 1.5},
}
PATHS = [
    path
    for section, value in FULL.items()
    for path in (
        [(section,)] + [(section, key) for key in value]
        if isinstance(value, dict)
        else [(section,)]
    )
] + [
    ("serve", "smokeTest", "prompt"),
    ("tpu", "zones", 0),
    ("weights", "sha256", "consolidated.00.pth"),
]
LEAVES = [
    None, True, False, 0, 1, 2, -1, 1.0, 0.5, 40000, 10**20, "", "x", "7b", "8h", "never", "0h", "spot",
    "reserved", "on-demand", "inPlace", "gs://my-models/x", "gs://b", "hf://a/b@c", "file:///x", "ids:",
    "us-central1-a", "/sax/a", "0" * 64, "v5litepod-8", "saxflow/v1", "tiny", "a" * 70, "ü", [], {}, ["x"],
    ["us-west4-a", "us-west4-a"], ["us-west4-a", "us-west4-b"], {"x": 1}, {"a.pth": "0" * 64},
]  # fmt: skip


def changed(document: dict[str, Any], path: tuple[Any, ...], action: str, leaf: Any) -> None:
    inner: Any = document
    for part in path[:-1]:
        try:
            inner = inner[part]
        except (KeyError, IndexError, TypeError):
            return
    if not isinstance(inner, (dict, list)) or (isinstance(inner, list) and path[-1] != 0):
        return
    if isinstance(inner, dict) and isinstance(path[-1], int):
        return
    if action == "drop" and isinstance(inner, dict):
        inner.pop(path[-1], None)
    elif action == "add" and isinstance(inner, dict):
        inner["unknownKey"] = leaf
    elif isinstance(inner, dict) or inner:
        inner[path[-1]] = leaf


changes = st.lists(
    st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from(["set", "set", "drop", "add"]),
        st.sampled_from(LEAVES) | st.text("abz019-_/.:@ ü", max_size=12),
    ),
    max_size=3,
)


def accepted(document: Any) -> bool:
    try:
        parse(json.dumps(document).encode(), source_name="tiny.json", allow_file_sources=True)
    except ManifestError as error:
        context = ("differs from the file's name", "is no list of ids")
        return all(any(text in p.message for text in context) for p in error.problems)
    return True


@given(changes)
def test_schema_and_parser_agree(edits: list[tuple[tuple[Any, ...], str, Any]]) -> None:
    document = copy.deepcopy(FULL)
    for edit in edits:
        changed(document, *edit)
    assert accepted(document) == VALIDATOR.is_valid(document), document


def test_the_full_manifest_is_valid() -> None:
    assert VALIDATOR.is_valid(FULL)
    assert accepted(FULL)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.Draft202012Validator.check_schema(events.json_schema())


def test_every_field_is_described() -> None:
    for section in [json_schema(), *json_schema()["$defs"].values()]:
        for name, field in section["properties"].items():
            assert field.get("description") or "$ref" in field, name


def test_examples_of_the_schema_are_valid() -> None:
    for example in json_schema()["examples"]:
        assert VALIDATOR.is_valid(example)


@pytest.mark.parametrize(
    ("kind", "document"), [("manifest", json_schema()), ("event", events.json_schema())]
)
def test_stored_schemas_are_current(kind: str, document: dict[str, Any]) -> None:
    stored = json.loads((ROOT / f"docs/schema/{kind}.schema.json").read_text())
    assert stored == document, f"run: saxflow schema {kind} > docs/schema/{kind}.schema.json"


@pytest.mark.parametrize("path", sorted((ROOT / "examples/manifests").glob("*.yaml")))
def test_example_manifests_are_valid(path: Path) -> None:
    assert parse(path.read_bytes(), source_name=path.name).name == path.stem
    assert VALIDATOR.is_valid(yaml.safe_load(path.read_text()))
