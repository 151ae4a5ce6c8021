"""Grammars accept what is documented and nothing like it."""

import time
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from saxflow.manifest import fields

ACCEPTED: list[tuple[Any, str]] = [
    (fields.Name, "llama2-7b"),
    (fields.WeightsSource, "gs://my-models/llama-2-7b"),
    (fields.WeightsSource, "gs://my-models/a/b/"),
    (fields.WeightsSource, "gs://my.models_1"),
    (fields.WeightsSource, "file:///home/me/llama"),
    (fields.WeightsSource, "hf://meta-llama/Llama-2-7b@main"),
    (fields.WeightsSource, "hf://meta-llama/Llama-2-7b@refs/pr/1"),
    (fields.TokenizerUri, "gs://my-models/tokenizer.model"),
    (fields.TokenizerUri, "ids:"),
    (fields.Destination, "gs://my-models/sax_models/llama2/saxml_llama27b"),
    (fields.AcceleratorType, "v5litepod-32"),
    (fields.Zone, "us-central1-a"),
    (fields.Zone, "northamerica-northeast2-b"),
    (fields.Duration, "90s"),
    (fields.Lifetime, "never"),
    (fields.Cell, "/sax/test"),
    (fields.ModelName, "llama2_7-b"),
    (fields.ModelPath, "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16TPUv5e"),
    (fields.Sha256, "0" * 64),
]
REFUSED: list[tuple[Any, str]] = [
    (fields.Name, "Llama"),
    (fields.WeightsSource, "s3://bucket/x"),
    (fields.WeightsSource, "gs://"),
    (fields.WeightsSource, "gs://UPPER/x"),
    (fields.WeightsSource, "gs://bucket/a//b"),
    (fields.WeightsSource, "gs://bucket/../x"),
    (fields.WeightsSource, "gs://bucket/a/.."),
    (fields.WeightsSource, "gs://bucket/a b"),
    (fields.WeightsSource, "gs://bucket/a*"),
    (fields.WeightsSource, "gs://bucket/x\n"),
    (fields.WeightsSource, "gs://bucket/\x00"),
    (fields.WeightsSource, "file://relative"),
    (fields.WeightsSource, "hf://meta-llama/Llama-2-7b"),
    (fields.WeightsSource, "hf://Llama-2-7b@main"),
    (fields.TokenizerUri, "gs://bucket"),
    (fields.TokenizerUri, "ids:1"),
    (fields.Destination, "file:///x"),
    (fields.Destination, "gs://bucket"),
    (fields.Destination, "gs://bucket/ü"),
    (fields.AcceleratorType, "v5litepod-2"),
    (fields.AcceleratorType, "v4-8"),
    (fields.Zone, "us-central1"),
    (fields.Duration, "never"),
    (fields.Duration, "0h"),
    (fields.Duration, "8 h"),
    (fields.Duration, "8H"),
    (fields.Duration, "1h30m"),
    (fields.Duration, "-1h"),
    (fields.Lifetime, "forever"),
    (fields.Cell, "/sax/test/x"),
    (fields.Cell, "test"),
    (fields.ModelName, "7b"),
    (fields.ModelName, "a/b"),
    (fields.Sha256, "A" * 64),
    (fields.Sha256, "0" * 63),
]


@pytest.mark.parametrize(("field", "value"), ACCEPTED)
def test_accepted(field: Any, value: str) -> None:
    assert TypeAdapter(field).validate_python(value) == value


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_refused(field: Any, value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(field).validate_python(value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("1d", 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert fields.seconds_of(text) == seconds
    assert fields.lifetime_seconds(text) == seconds


def test_never_has_no_seconds() -> None:
    assert fields.lifetime_seconds(fields.NEVER) is None


def test_no_text_of_a_manifest_makes_a_grammar_slow() -> None:
    started = time.process_time()
    for text in ("gs://aaa/" + "a/" * 30000, "gs://" + "a" * 60000, "a-" * 30000, "/." * 30000):
        for field, _ in ACCEPTED:
            with pytest.raises(ValidationError):
                TypeAdapter(field).validate_python(text + "\x00 ")
    assert time.process_time() - started < 5
