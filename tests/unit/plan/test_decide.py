"""Open questions get the documented answers; refusals come all at once, with remedies."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from saxflow.catalog import SIZES
from saxflow.errors import ManifestError
from saxflow.manifest import Manifest
from saxflow.plan import WeightFacts, check_manifest
from saxflow.plan.decide import SERVED_CLASS, Decision, decide
from saxflow.settings import Settings
from saxflow.weights import Dimensions

STOCK = "saxml.server.pax.lm.params.lm_cloud."


@pytest.fixture
def decision_of(
    settings: Settings,
    manifest_of: Callable[..., Manifest],
    facts_of: Callable[..., WeightFacts],
) -> Callable[..., Decision]:
    def build(size: str | Dimensions = "7b", **sections: Any) -> Decision:
        return decide(manifest_of(**sections), settings, facts_of(size))

    return build


@pytest.fixture
def refusals_of(decision_of: Callable[..., Decision]) -> Callable[..., list[str]]:
    def build(size: str | Dimensions = "7b", **sections: Any) -> list[str]:
        with pytest.raises(ManifestError) as caught:
            decision_of(size, **sections)
        return [str(problem) for problem in caught.value.problems]

    return build


@pytest.mark.parametrize(
    ("size", "accelerator", "directory", "model", "usd", "stream"),
    [
        ("7b", "v5litepod-4", "saxml_llama27b", "llama27b", 4.8, True),
        ("13b", "v5litepod-8", "saxml_llama213b", "llama213b", 9.6, True),
        ("34b", "v5litepod-8", "saxml_llama234b", "llama234b", 9.6, True),
        ("70b", "v5litepod-16", "saxml_llama270b", "llama270b", 19.2, False),
    ],
)
def test_defaults_by_size(
    decision_of: Callable[..., Decision],
    size: str,
    accelerator: str,
    directory: str,
    model: str,
    usd: float,
    stream: bool,
) -> None:
    found = decision_of(size)
    assert found.slice.accelerator_type == accelerator
    assert found.destination == f"gs://models/sax_models/llama2/{directory}"
    assert (found.model, found.model_path) == (model, SERVED_CLASS)
    assert (found.hourly_usd, found.stream) == (usd, stream)
    assert found.zones == ("us-central1-a",)


def test_unknown_dimensions(decision_of: Callable[..., Decision], tiny: Dimensions) -> None:
    found = decision_of(tiny)
    assert found.size is None
    assert found.slice.accelerator_type == "v5litepod-1"
    assert found.destination.endswith("/saxml_my-llama")
    assert found.model == "myllama"


def test_what_the_manifest_says_wins(decision_of: Callable[..., Decision]) -> None:
    found = decision_of(
        checkpoint={"destination": "gs://other/place/"},
        tpu={"acceleratorType": "v5litepod-8", "provisioning": "spot"},
        serve={"model": "mine", "stream": False, "smokeTest": {"prompt": "p", "contains": "c"}},
    )
    assert found.destination == "gs://other/place"
    assert (found.model, found.stream) == ("mine", False)
    assert (found.prompt, found.contains) == ("p", "c")
    assert found.hourly_usd == 4.8


def test_the_default_prompt_without_a_tokenizer_is_ids(
    settings: Settings,
    manifest_of: Callable[..., Manifest],
    facts_of: Callable[..., WeightFacts],
    tiny: Dimensions,
) -> None:
    found = decide(manifest_of(), settings, facts_of(tiny, "ids:"))
    assert (found.prompt, found.stream) == ("3", False)


def test_prices_are_those_of_the_dearest_zone(decision_of: Callable[..., Decision]) -> None:
    tpu = {"zones": ["us-central1-a", "europe-west4-a"], "allowCrossRegion": True}
    assert decision_of(tpu=tpu).hourly_usd == pytest.approx(4 * 1.56)


@pytest.mark.parametrize(
    ("size", "sections", "path", "said"),
    [
        ("7b", {"model": {"size": "13b"}}, "model.size", "the weights' dimensions are those of 7b"),
        ("70b", {"tpu": {"acceleratorType": "v5litepod-8"}}, "tpu.acceleratorType", "use v5litepod-16"),
        ("7b", {"tpu": {"zones": ["us-west4-a"]}}, "tpu.zones[0]", "allowCrossRegion: true"),
        ("7b", {"lifecycle": {"maxHourlyCost": 4}}, "lifecycle.maxHourlyCost", "4.80 USD an hour"),
        ("7b", {"lifecycle": {"replace": "inPlace"}}, "lifecycle.replace", "use blueGreen"),
        ("7b", {"lifecycle": {"replace": "recreate"}}, "lifecycle.replace", "saxflow delete"),
        ("7b", {"weights": {"source": "gs://models/x", "sha256": {"a.pth": "0" * 64}}}, "weights.sha256.a.pth", "no such file"),
        ("7b", {"weights": {"source": "gs://models/x", "tokenizer": "ids:"}, "serve": {"stream": True}}, "serve.stream", "cannot stream ids"),
        ("7b", {"weights": {"source": "hf://a/b@c"}}, "weights.source", "gcloud storage cp"),
        ("7b", {"serve": {"modelPath": f"{STOCK}LLaMA7BFP16TPUv5e"}}, "serve.modelPath", "maxInputTokens: 128"),
    ],
)  # fmt: skip
def test_refusals(
    refusals_of: Callable[..., list[str]], size: str, sections: dict[str, Any], path: str, said: str
) -> None:
    (found,) = refusals_of(size, **sections)
    assert f"{path}: " in found
    assert said in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rope_theta": 500000.0}, "rope_theta is 500000"),
        ({"kv_heads": 1}, "one KV head for 32 heads"),
        ({"head_dim": 64}, "32 heads of 64 are not the model's width 4096"),
        ({"head_dim": 127, "model_dim": 32 * 127}, "head_dim 127 is odd"),
    ],
)
def test_what_saxs_llama_cannot_express(
    refusals_of: Callable[..., list[str]], change: dict[str, Any], said: str
) -> None:
    assert said in refusals_of(replace(SIZES["7b"].dimensions, **change))[0]


def test_all_refusals_at_once(refusals_of: Callable[..., list[str]]) -> None:
    found = refusals_of(
        "70b",
        model={"size": "7b"},
        tpu={"acceleratorType": "v5litepod-4", "zones": ["us-west4-a", "us-east5-c"]},
        lifecycle={"maxHourlyCost": 1, "replace": "inPlace"},
    )
    assert len(found) == 6


def test_a_stock_class_that_fits(decision_of: Callable[..., Decision]) -> None:
    path = f"{STOCK}LLaMA7BFP16TPUv5e"
    found = decision_of(serve={"modelPath": path, "maxInputTokens": 128, "maxNewTokens": 32})
    assert found.model_path == path


def test_stock_traps_are_named(refusals_of: Callable[..., list[str]]) -> None:
    found = refusals_of(
        "7b", serve={"modelPath": f"{STOCK}LLaMA70BFP16TPUv5e", "maxNewTokens": 128}
    )
    assert len(found) == 3
    assert "random weights" in found[0]
    assert "made for 16 chips" in found[1]
    assert "dimensions of 70b" in found[2]


def test_foreign_classes_are_not_judged(decision_of: Callable[..., Decision]) -> None:
    assert decision_of(serve={"modelPath": "my.module.Llama"}).model_path == "my.module.Llama"


@pytest.mark.parametrize(
    ("location", "zones"),
    [("us-west4", 2), ("EUROPE-WEST4", 2), ("us", 6), ("EU", 2)],
)
def test_zones_follow_the_models_bucket(
    settings_of: Callable[..., Settings],
    manifest_of: Callable[..., Manifest],
    facts_of: Callable[..., WeightFacts],
    location: str,
    zones: int,
) -> None:
    settings = settings_of(SAXFLOW_MODELS_LOCATION=location)
    assert len(decide(manifest_of(), settings, facts_of("7b")).zones) == zones


def test_a_region_without_v5e(
    settings_of: Callable[..., Settings], manifest_of: Callable[..., Manifest]
) -> None:
    with pytest.raises(ManifestError, match="no zone of asia-east1"):
        check_manifest(manifest_of(), settings_of(SAXFLOW_MODELS_LOCATION="asia-east1"))


def test_a_fine_manifest_passes_the_early_look(
    settings: Settings, manifest_of: Callable[..., Manifest]
) -> None:
    assert check_manifest(manifest_of(), settings) is None


@pytest.mark.parametrize(
    ("size", "sections", "note"),
    [
        ("70b", {}, "KV heads: 8 is padded to a multiple of 16 chips"),
        ("7b", {"tpu": {"zones": ["us-central1-z"]}}, "us-central1-z is not known to have v5e"),
        ("70b", {"serve": {"stream": True}}, "streaming on several hosts"),
        ("7b", {"lifecycle": {"replace": "blueGreen"}}, "blueGreen costs 9.60 USD an hour"),
        ("7b", {"lifecycle": {"ttl": "never"}}, "3504 USD a month"),
        (
            "7b",
            {
                "tpu": {"provisioning": "reserved", "reservation": "r"},
                "lifecycle": {"replace": "blueGreen"},
            },
            "room for two slices",
        ),
    ],
)
def test_notes(
    decision_of: Callable[..., Decision], size: str, sections: dict[str, Any], note: str
) -> None:
    assert any(note in found for found in decision_of(size, **sections).notes)
