"""A plan's ingredients: settings of an installation, manifests, facts about weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.catalog import SIZES
from saxflow.manifest import Manifest, parse
from saxflow.plan import WeightFacts
from saxflow.settings import Settings, load_settings
from saxflow.weights import Dimensions, SourceFile

ENVIRONMENT = {
    "SAXFLOW_CONVERT_IMAGE": "r/convert@sha256:1",
    "SAXFLOW_ADMIN_IMAGE": "r/admin@sha256:2",
    "SAXFLOW_MODEL_SERVER_IMAGE": "r/server@sha256:3",
    "SAXFLOW_COMMIT_URL": "https://commit",
    "SAXFLOW_PUBLISH_URL": "https://publish",
    "SAXFLOW_NETWORK": "projects/proj/global/networks/sax",
    "SAXFLOW_SUBNETWORK": "projects/proj/regions/us-central1/subnetworks/sax",
    "SAXFLOW_BATCH_ACCOUNT": "batch@proj.iam.gserviceaccount.com",
    "SAXFLOW_TPU_ACCOUNT": "tpu@proj.iam.gserviceaccount.com",
}
TINY = Dimensions(2, 64, 4, 4, 16, 192, 320)


@pytest.fixture
def settings_of(smallest_installation: dict[str, str]) -> Callable[..., Settings]:
    def build(**changes: str) -> Settings:
        return load_settings({**smallest_installation, **ENVIRONMENT, **changes})

    return build


@pytest.fixture
def settings(settings_of: Callable[..., Settings]) -> Settings:
    return settings_of()


@pytest.fixture
def manifest_of() -> Callable[..., Manifest]:
    def build(name: str = "my-llama", **sections: Any) -> Manifest:
        document = {
            "apiVersion": "saxflow/v1",
            "name": name,
            "weights": {"source": "gs://models/llama"},
            **sections,
        }
        data = json.dumps(document).encode()
        return parse(data, source_name=f"{name}.json", allow_file_sources=True)

    return build


@pytest.fixture
def facts_of() -> Callable[..., WeightFacts]:
    def build(
        size: str | Dimensions, tokenizer: str = "gs://models/tokenizer.model"
    ) -> WeightFacts:
        dims = SIZES[size].dimensions if isinstance(size, str) else size
        shard = SourceFile("consolidated.00.pth", dims.parameters * 2 + 1000, "crc", "1")
        return WeightFacts((shard, SourceFile("params.json", 99, "crc", "2")), {}, dims, tokenizer)

    return build


@pytest.fixture
def tiny() -> Dimensions:
    return TINY
