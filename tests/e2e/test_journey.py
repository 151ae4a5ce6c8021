"""Manifest in, tokens out: the whole journey through real code, judged by what users see."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.errors import NotFoundError
from saxflow.events import fold
from saxflow.gcp.objects import Uri
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import deployment_status, newest_log

STAGES = (
    "manifest.accepted",
    "conversion.finished",
    "checkpoint.committed",
    "sax.ready",
    "model.publishing",
    "model.published",
    "model.serving",
)
ENDS = ("model.serving", "deployment.failed", "manifest.rejected")
ZONE = "us-central1-a"


def drop(services: Services, name: str, text: str) -> str:
    uri = Uri(services.settings.manifests_bucket, f"{name}.yaml")
    return services.objects.write(uri, text.encode(), if_generation=None) or ""


def ask(services: Services, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        services.settings.generate_url + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def tpus(services: Services, name: str) -> list[str]:
    parent = f"projects/{services.settings.project}/locations/{ZONE}"
    found = services.tpu.list_queued_resources(parent=parent)
    return [each.name for each in found if f"/sf-{name}-" in each.name]


def jobs(services: Services, name: str) -> list[str]:
    settings = services.settings
    parent = f"projects/{settings.project}/locations/{settings.location}"
    return [
        job.status.state.name
        for job in services.batch.list_jobs(parent=parent)
        if f"/sf-{name}-" in job.name
    ]


@pytest.mark.usefixtures("weights")
def test_a_manifest_becomes_a_served_model_and_goes(
    services: Services, subscriber: Any, manifest_text: str, eventually: Callable[..., None]
) -> None:
    generation = drop(services, "tiny-llama", manifest_text)
    came = subscriber.until("tiny-llama", *ENDS)
    assert came[-1].name == "model.serving", came[-1].data
    said = [event.name for event in came]
    assert [name for name in said if name in STAGES] == list(STAGES)
    assert len({event.id for event in came}) == len(came)

    # the log alone rebuilds what subscribers saw
    log = newest_log(services, "tiny-llama")
    assert [event.id for event in log] == [event.id for event in came]
    assert fold(log).state == "serving"

    # what the head says is what HTTP answers
    found = read_head(services, "tiny-llama")
    assert found
    assert found[0].serving
    assert found[0].serving.generation == generation
    prompt = "Q: What does a lighthouse do? A:"
    ((text, score),) = ask(
        services,
        "/generate",
        {"model": "tiny-llama", "query": prompt, "extra_inputs": {"temperature": 0.0}},
    )
    assert "shows ships where the land is" in text
    assert score < 0
    completion = ask(
        services,
        "/v1/completions",
        {"model": "/sax/test/tinyllama", "prompt": prompt, "max_tokens": 32, "temperature": 0},
    )
    assert "shows ships" in completion["choices"][0]["text"]

    status = deployment_status(services, "tiny-llama")
    assert status["state"] == "serving"
    assert status["hourly_cost_usd"] == pytest.approx(4.8)
    assert len(tpus(services, "tiny-llama")) == 1

    # the same manifest again: nothing is converted, the new attempt takes over
    again = drop(services, "tiny-llama", manifest_text)
    came = subscriber.until("tiny-llama", *ENDS, generation=again)
    said = [event.name for event in came]
    assert said[-1] == "model.serving"
    assert "conversion.reused" in said
    assert "conversion.started" not in said
    eventually(lambda: len(tpus(services, "tiny-llama")) == 1)

    # deleting the manifest takes everything down
    uri = Uri(services.settings.manifests_bucket, "tiny-llama.yaml")
    assert services.objects.delete(uri)
    subscriber.until("tiny-llama", "deployment.deleted")
    assert tpus(services, "tiny-llama") == []
    eventually(lambda: not read_head(services, "tiny-llama")[0].lease)  # type: ignore[index]
    head, _ = read_head(services, "tiny-llama") or pytest.fail("the head is gone")
    assert head.serving is None
    assert head.candidate is None
    cells = Uri(services.settings.cells_bucket, "tiny-llama/")
    assert list(services.objects.list(cells)) == []


def test_an_invalid_manifest_is_rejected_with_all_its_problems(
    services: Services, subscriber: Any
) -> None:
    drop(
        services,
        "broken",
        "apiVersion: saxflow/v1\nname: broken\ntpu: {zone: nowhere}\nserve: {replicas: 3}\n",
    )
    (rejected,) = subscriber.until("broken", *ENDS)
    assert rejected.name == "manifest.rejected"
    paths = {problem["path"] for problem in rejected.data["problems"]}
    assert {"weights", "tpu.zone", "serve.replicas"} <= paths or "weights.source" in paths
    assert read_head(services, "broken") is None


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"[1, 2", b"just text"])
def test_a_body_that_is_no_manifest_is_rejected_politely(
    services: Services, subscriber: Any, body: bytes
) -> None:
    uri = Uri(services.settings.manifests_bucket, "garbage.yaml")
    generation = services.objects.write(uri, body, if_generation=None)
    came = subscriber.until("garbage", *ENDS, generation=generation)
    assert [event.name for event in came] == ["manifest.rejected"]


def test_a_file_with_an_illegal_stem_is_rejected_for_no_deployment(
    services: Services, subscriber: Any
) -> None:
    drop(services, "Not_A_Name", "{}")
    (rejected,) = subscriber.until("-", *ENDS)
    assert "Not_A_Name" in rejected.data["message"]


@pytest.mark.usefixtures("weights")
def test_a_missing_shard_is_named_and_nothing_is_left(
    services: Services, subscriber: Any, manifest_text: str, weights: Uri
) -> None:
    place = Uri(weights.bucket, "short-llama")
    for name in ("consolidated.00.pth", "params.json", "tokenizer.model"):
        data = services.objects.read(weights.child(name)).data or b""
        services.objects.write(place.child(name), data, if_generation=None)
    text = manifest_text.replace("tiny-llama", "short-llama")
    drop(services, "short-llama", text)
    came = subscriber.until("short-llama", *ENDS)
    assert came[-1].name in ("manifest.rejected", "deployment.failed")
    assert "consolidated.01.pth" in came[-1].data["message"]
    assert tpus(services, "short-llama") == []
    assert set(jobs(services, "short-llama")) <= {"FAILED", "CANCELLED"}
    written = Uri(services.settings.models_bucket, "sax_models/llama2/saxml_short-llama")
    assert list(services.objects.list(written)) == []


def test_a_deployment_that_never_was_is_not_found(services: Services) -> None:
    with pytest.raises(NotFoundError, match="'nobody'"):
        deployment_status(services, "nobody")
