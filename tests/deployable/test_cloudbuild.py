"""cloudbuild.yaml: a Build as Google's message knows it, of steps that exist."""

from pathlib import Path

import yaml
from google.cloud.devtools import cloudbuild_v1
from google.protobuf import json_format

from saxflow.stack.staging import FUNCTIONS

ROOT = Path(__file__).parents[2]


def build() -> cloudbuild_v1.Build:
    document = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text(encoding="utf-8"))
    message = cloudbuild_v1.Build()
    json_format.ParseDict(document, cloudbuild_v1.Build.pb(message))
    return message


def test_it_is_a_build_with_logging_for_its_own_account() -> None:
    parsed = build()
    assert parsed.service_account
    assert parsed.options.logging.name == "CLOUD_LOGGING_ONLY"


def test_steps_wait_only_for_steps_that_exist() -> None:
    steps = build().steps
    known = {step.id for step in steps}
    assert len(known) == len(steps)
    for step in steps:
        assert set(step.wait_for) - {"-"} <= known


def test_every_function_is_staged_and_every_file_named_exists() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text(encoding="utf-8")
    for function in FUNCTIONS:
        assert function in text
    for path in (
        "workflows/deploy_model.yaml",
        "workflows/teardown_model.yaml",
        "tpu/model_server",
    ):
        assert path in text
        assert (ROOT / path).exists()
