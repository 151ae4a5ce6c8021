"""Journeys in bad weather: what fails says why, what costs money goes, what can go on goes on."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from saxflow.gcp.objects import Uri
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.services import Services
from saxflow.stack.laptop import Laptop

ENDS = ("model.serving", "deployment.failed", "manifest.rejected")
ZONES = ("us-central1-a", "us-east5-c")

pytestmark = pytest.mark.usefixtures("weights", "calm")


@pytest.fixture
def calm(laptop: Laptop) -> Generator[None]:
    """Disarm everything after each test."""
    yield
    laptop.cloud.outcomes.clear()
    laptop.cloud.faults.clear()


@pytest.fixture
def drop(services: Services, manifest_text: str) -> Callable[..., str]:
    """Return a function that uploads a manifest of a name and returns its generation."""

    def upload(name: str, **changes: str) -> str:
        text = manifest_text.replace("name: tiny-llama", f"name: {name}")
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        uri = Uri(services.settings.manifests_bucket, f"{name}.yaml")
        return services.objects.write(uri, text.encode(), if_generation=None) or ""

    return upload


def tpus(services: Services, name: str) -> list[str]:
    found: list[str] = []
    for zone in ZONES:
        parent = f"projects/{services.settings.project}/locations/{zone}"
        for each in services.tpu.list_queued_resources(parent=parent):
            if f"/sf-{name}-" in each.name:
                found.append(f"{zone} {each.state.state.name}")
    return found


def processes() -> Iterator[tuple[int, str]]:
    """Yield every process with its command line and environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"saxflow.cell.containers" in words and b"guard.py" not in words:
                yield int(entry.name), words.replace(b"\0", b" ").decode(errors="replace")


def answered(services: Services, name: str) -> bool:
    options = {"temperature": 0.0, "per_example_max_decode_steps": 8}
    body = {"model": name, "query": "Q: What does a lighthouse do? A:", "extra_inputs": options}
    request = urllib.request.Request(
        services.settings.generate_url + "/generate",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status == 200
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (502, 503, 504):
            return False
        raise


def names_of(came: list[Any]) -> list[str]:
    return [event.name for event in came]


def test_answers_lost_on_the_way_change_nothing(
    laptop: Laptop, services: Services, subscriber: Any, drop: Callable[..., str]
) -> None:
    faults = laptop.cloud.faults
    faults.arm("batch", "create_job", "execute-and-timeout")
    faults.arm("tpu", "create_queued_resource", "execute-and-timeout")
    faults.arm("tpu", "get_queued_resource", "return-503", count=2)
    faults.arm("pubsub", "publish", "execute-and-timeout", nth=3)
    drop("lossy")
    came = subscriber.until("lossy", *ENDS)
    assert came[-1].name == "model.serving", came[-1].data
    assert tpus(services, "lossy") == ["us-central1-a ACTIVE"]
    assert len({event.id for event in came}) == len(came)


def test_a_zone_without_quota_gives_way_to_the_next(
    laptop: Laptop, services: Services, subscriber: Any, drop: Callable[..., str]
) -> None:
    laptop.cloud.outcomes.arm("quota", contains="us-central1-a", message="Quota exceeded: 0 chips")
    zones = (
        "acceleratorType: v5litepod-4",
        "acceleratorType: v5litepod-4\n  zones: [us-central1-a, us-east5-c]\n  allowCrossRegion: true",
    )
    drop("roaming", zones=zones)
    came = subscriber.until("roaming", *ENDS)
    assert came[-1].name == "model.serving", came[-1].data
    assert tpus(services, "roaming") == ["us-east5-c ACTIVE"]


def test_no_capacity_at_all_fails_with_each_zones_words(
    laptop: Laptop, services: Services, subscriber: Any, drop: Callable[..., str]
) -> None:
    laptop.cloud.outcomes.arm(
        "fail", contains="queuedResources/sf-nowhere-", message="stockout of v5e"
    )
    drop("nowhere")
    came = subscriber.until("nowhere", *ENDS)
    assert came[-1].name == "deployment.failed"
    failure = came[-1].data["failure"]
    assert failure["stage"] == "tpu"
    assert failure["retryable"]
    assert "us-central1-a" in failure["reason"]
    assert "stockout of v5e" in failure["reason"]
    assert tpus(services, "nowhere") == []
    head, _ = read_head(services, "nowhere") or pytest.fail("the head is gone")
    assert head.candidate is None


def test_a_newer_manifest_supersedes_one_that_waits_in_the_queue(
    laptop: Laptop, services: Services, subscriber: Any, drop: Callable[..., str]
) -> None:
    laptop.cloud.outcomes.arm("hold", contains="queuedResources/sf-impatient-")
    older = drop("impatient")
    subscriber.until("impatient", "tpu.waiting")
    newer = drop("impatient")
    came = subscriber.until("impatient", "deployment.superseded")
    assert came[-1].data["generation"] == older
    laptop.cloud.outcomes.clear()
    came = subscriber.until("impatient", *ENDS, generation=newer)
    assert came[-1].name == "model.serving", came[-1].data
    assert len(tpus(services, "impatient")) == 1


def test_a_manifest_deleted_while_its_tpu_waits_leaves_nothing(
    laptop: Laptop, services: Services, subscriber: Any, drop: Callable[..., str]
) -> None:
    laptop.cloud.outcomes.arm("hold", contains="queuedResources/sf-regret-")
    drop("regret")
    subscriber.until("regret", "tpu.waiting")
    services.objects.delete(Uri(services.settings.manifests_bucket, "regret.yaml"))
    subscriber.until("regret", "deployment.deleted")
    assert tpus(services, "regret") == []


def test_a_lost_tpu_is_replaced_by_reconcile(
    laptop: Laptop, services: Services, subscriber: Any, drop: Callable[..., str]
) -> None:
    drop("phoenix")
    assert subscriber.until("phoenix", *ENDS)[-1].name == "model.serving"
    head, _ = read_head(services, "phoenix") or pytest.fail("the head is gone")
    assert head.serving
    parent = f"projects/{services.settings.project}/locations/{head.serving.zone}"
    assert laptop.cloud.tpu.preempt(f"{parent}/queuedResources/{head.serving.queued_resource}")
    request = urllib.request.Request(laptop.functions["reconcile"], data=b"{}", method="POST")
    with urllib.request.urlopen(request, timeout=60) as reply:
        report = json.load(reply)
    assert any("phoenix" in line for line in report["repaired"]), report
    came = subscriber.until("phoenix", *ENDS)
    assert names_of(came)[0] == "tpu.preempted"
    assert came[-1].name == "model.serving"
    assert came[-1].data["attempt"] == 2
    assert tpus(services, "phoenix") == ["us-central1-a ACTIVE"]


@pytest.mark.parametrize(("member", "name"), [("model-server", "lazarus"), ("admin", "hydra")])
def test_a_killed_member_of_the_cell_comes_back_by_itself(
    services: Services,
    subscriber: Any,
    drop: Callable[..., str],
    eventually: Callable[..., None],
    member: str,
    name: str,
) -> None:
    drop(name)
    assert subscriber.until(name, *ENDS)[-1].name == "model.serving"
    root = read_head(services, name)[0].serving.more["cell_root"]  # type: ignore[index, union-attr]
    assert answered(services, name)
    victims = [
        pid for pid, words in processes() if f"containers {member}" in words and root in words
    ]
    assert len(victims) == 1
    os.kill(victims[0], signal.SIGKILL)
    eventually(lambda: answered(services, name), 120.0)
    after = [pid for pid, words in processes() if f"containers {member}" in words and root in words]
    assert after != victims


@pytest.mark.parametrize("content_type", ["application/cloudevents+json", "application/json"])
def test_events_in_either_binding_are_taken(
    laptop: Laptop, services: Services, subscriber: Any, content_type: str
) -> None:
    name = "bound-structured" if "cloudevents" in content_type else "bound-binary"
    uri = Uri("elsewhere-" + name, "x")
    data = {"bucket": services.settings.manifests_bucket, "name": f"{name}.yaml", "generation": "1"}
    attributes = {
        "specversion": "1.0",
        "id": name,
        "type": "google.cloud.storage.object.v1.finalized",
        "source": f"//storage.googleapis.com/projects/_/buckets/{uri.bucket}",
        "subject": f"objects/{name}.yaml",
    }
    if "cloudevents" in content_type:
        body, headers = {**attributes, "data": data}, {}
    else:
        body, headers = data, {f"ce-{key}": value for key, value in attributes.items()}
    request = urllib.request.Request(
        laptop.functions["on-manifest"],
        data=json.dumps(body).encode(),
        headers={"Content-Type": content_type, **headers},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert reply.status == 200
