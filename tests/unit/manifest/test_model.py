"""Sections are strict, immutable and know their seconds."""

import pytest
from pydantic import ValidationError

from saxflow.manifest.model import API_VERSION, Lifecycle, Manifest

SMALLEST = {
    "apiVersion": API_VERSION,
    "name": "tiny",
    "weights": {"source": "gs://my-models/tiny"},
}


def test_sections_do_not_change() -> None:
    found = Manifest.model_validate(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        found.name = "other"


def test_python_names_are_no_keys() -> None:
    with pytest.raises(ValidationError):
        Manifest.model_validate({**SMALLEST, "api_version": API_VERSION})


def test_never_is_no_seconds() -> None:
    assert Lifecycle.model_validate({"ttl": "never"}).ttl_seconds is None
    assert Lifecycle.model_validate({"ttl": "90s"}).ttl_seconds == 90


def test_a_manifest_without_a_file_has_no_places() -> None:
    found = Manifest.model_validate(SMALLEST)
    assert found.source_name == "manifest"
    assert found.problem("name", "m").line is None
    located = found.located("tiny.yaml", {})
    assert located.source_name == "tiny.yaml"
    assert found.source_name == "manifest"
