"""Settings are read from the environment alone; what is missing or no number is named at once."""

from __future__ import annotations

import dataclasses

import pytest

from saxflow.errors import ConfigurationError
from saxflow.settings import (
    Endpoints,
    ServingSettings,
    Settings,
    load_endpoints,
    load_serving_settings,
    load_settings,
)

SMALLEST = {
    "SAXFLOW_PROJECT": "proj",
    "SAXFLOW_MANIFESTS_BUCKET": "manifests",
    "SAXFLOW_CONTROL_BUCKET": "control",
    "SAXFLOW_MODELS_BUCKET": "models",
    "SAXFLOW_CELLS_BUCKET": "cells",
}


def test_the_smallest_installation_has_defaults() -> None:
    settings = load_settings(SMALLEST)
    assert settings.location == settings.models_location == "us-central1"
    assert settings.topic_path == "projects/proj/topics/saxflow-events"
    assert settings.workflow_path(settings.deploy_workflow) == (
        "projects/proj/locations/us-central1/workflows/deploy-model"
    )
    assert settings.deadline_scale == 1.0
    assert not settings.allow_file_sources
    assert settings.endpoints == Endpoints()


def test_an_empty_variable_is_none_at_all() -> None:
    optional = ("LOCATION", "MODELS_LOCATION", "EVENTS_TOPIC", "DEPLOY_WORKFLOW", "TEARDOWN_WORKFLOW", "POLL_SECONDS")  # fmt: skip
    empty = {f"SAXFLOW_{name}": "" for name in optional}
    assert load_settings({**SMALLEST, **empty}) == load_settings(SMALLEST)


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"SAXFLOW_PROJECT": "proj", "SAXFLOW_CONTROL_BUCKET": ""})
    assert str(caught.value).startswith(
        "SAXFLOW_MANIFESTS_BUCKET, SAXFLOW_CONTROL_BUCKET, SAXFLOW_MODELS_BUCKET,"
        " SAXFLOW_CELLS_BUCKET not set; "
    )


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-1", "1e400"])
def test_what_is_no_number_from_zero_is_quoted(text: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"SAXFLOW_POLL_SECONDS is .*a number from 0"
    ) as caught:
        load_settings({**SMALLEST, "SAXFLOW_POLL_SECONDS": text})
    assert repr(text) in str(caught.value)
    with pytest.raises(ConfigurationError, match="PORT"):
        load_serving_settings({"PORT": text})


def test_every_number_of_the_environment_arrives() -> None:
    numbers = {
        field.name: float(index)
        for index, field in enumerate(dataclasses.fields(Settings), 1)
        if field.type == "float"
    }
    environ = {f"SAXFLOW_{name.upper()}": str(value) for name, value in numbers.items()}
    settings = load_settings({**SMALLEST, **environ})
    assert {name: getattr(settings, name) for name in numbers} == numbers


def test_file_sources_are_legal_only_when_said_so() -> None:
    for text, legal in (("1", True), ("0", False), ("yes", False)):
        found = load_settings({**SMALLEST, "SAXFLOW_ALLOW_FILE_SOURCES": text})
        assert found.allow_file_sources is legal


def test_endpoints_lead_to_google_or_here() -> None:
    google, local = (
        Endpoints(),
        load_endpoints(
            {
                "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1/",
                "PUBSUB_EMULATOR_HOST": "127.0.0.1:2",
                "SAXFLOW_GRPC_ENDPOINT": "127.0.0.1:3",
                "SAXFLOW_REST_ENDPOINT": "http://127.0.0.1:4",
            }
        ),
    )
    assert google.api_root("tpu") == "https://tpu.googleapis.com"
    assert local.api_root("storage") == "http://127.0.0.1:1"
    assert local.api_root("batch") == "http://127.0.0.1:4"
    assert (local.pubsub, local.grpc) == ("127.0.0.1:2", "127.0.0.1:3")
    assert load_endpoints({"STORAGE_EMULATOR_HOST": ""}) == google


def test_the_process_environment_counts_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALLEST.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PORT", "81")
    assert load_settings().project == "proj"
    assert load_serving_settings().port == 81


def test_serving_listens_on_loopback_unless_iam_stands_before_it() -> None:
    laptop, cloud = load_serving_settings({}), load_serving_settings({"K_SERVICE": "generate"})
    assert (laptop.host, laptop.on_cloud_run, laptop.port) == ("127.0.0.1", False, 8080)
    assert (cloud.host, cloud.on_cloud_run) == ("0.0.0.0", True)
    behind = load_serving_settings({"K_SERVICE": "g", "SAXFLOW_GENERATE_HOST": "127.0.0.1"})
    assert behind.host == "127.0.0.1"


def test_api_keys_are_split_and_trimmed() -> None:
    found: ServingSettings = load_serving_settings({"SAXFLOW_API_KEYS": " a, b ,,"})
    assert found.api_keys == ("a", "b")
    assert load_serving_settings({}).api_keys == ()
