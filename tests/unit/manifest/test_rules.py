"""Rules between fields speak only when the fields they need are right."""

from typing import Any

import pytest

from saxflow.manifest.rules import View, findings


def found(values: dict[str, Any], *, local: bool = False) -> list[str]:
    return [path for path, _ in findings(View(values, "tiny.yaml", local))]


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ({}, []),
        ({"name": "tiny"}, []),
        ({"name": "other"}, ["name"]),
        ({"weights.source": "file:///x", "weights.tokenizer": "file:///y"}, ["weights.source", "weights.tokenizer"]),
        ({"tpu.provisioning": "reserved"}, ["tpu.reservation"]),
        ({"tpu.provisioning": "reserved", "tpu.reservation": "r"}, []),
        ({"tpu.reservation": "r"}, ["tpu.reservation"]),
        ({"tpu.provisioning": 7, "tpu.reservation": "r"}, []),
        ({"tpu.zones": ["a", "b", "a"]}, ["tpu.zones[2]"]),
        ({"tpu.zones": "a"}, []),
        ({"weights.tokenizer": "ids:", "serve.smokeTest.prompt": "1,2"}, []),
        ({"weights.tokenizer": "ids:", "serve.smokeTest.prompt": "hi"}, ["serve.smokeTest.prompt"]),
    ],
)  # fmt: skip
def test_rules(values: dict[str, Any], paths: list[str]) -> None:
    assert found(values) == paths


def test_local_files_are_no_finding_locally() -> None:
    assert found({"weights.source": "file:///x"}, local=True) == []
