"""From an uploaded manifest to a served model, and from a stage's change to a subscriber.

The embedded cloud runs the whole pipeline on the tiny Llama; the same manifest uploaded again is a new
generation that finds its checkpoint committed.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.processes import SAXFLOW, run
from saxflow import bundled, events
from saxflow.events import Event
from saxflow.gcp import clients
from saxflow.gcp.objects import Objects, Uri
from saxflow.local.delivery import post
from saxflow.local.eventarc import event_headers
from saxflow.pipeline.services import Services
from saxflow.settings import load_settings
from saxflow.stack.laptop import Laptop

REUSED = 10
JOURNEY_SECONDS = 120.0
IMPORTS = 10
STARTS = 5
FINALIZED = "google.cloud.storage.object.v1.finalized"


def run_all(folder: Path) -> list[dict[str, Any]]:
    """Return one record for each thing a user waits for."""
    with Laptop(folder) as laptop:
        settings = load_settings(laptop.environ)
        storage = clients.storage_client(settings.project, settings.endpoints)
        services = Services(settings, Objects(storage))
        with _arrivals(services) as arrived:
            _upload_weights(services)
            cold, *reused = [_journey(services, arrived) for _ in range(1 + REUSED)]
        starts = [_cold_start_seconds(laptop, number) for number in range(STARTS)]
        latencies = [latency for _, found in (cold, *reused) for latency in found]
    percentiles = quantiles(latencies, n=100)
    return [
        _record("manifest uploaded to `model.serving`, cold", 1, cold[0]),
        _record("the same, checkpoint reused, median", REUSED, median(s for s, _ in reused)),
        _record("event's time to subscriber, median", len(latencies), percentiles[49]),
        _record("event's time to subscriber, 99th percentile", len(latencies), percentiles[98]),
        _record(
            "on_manifest: process started to first event answered, median", STARTS, median(starts)
        ),
        _record("`saxflow --help`, whole process, median", IMPORTS, _help_seconds()),
        _record("`import saxflow.cli`, median", IMPORTS, _import_seconds()),
    ]


def _record(what: str, runs: int, seconds: float) -> dict[str, Any]:
    return {"what": what, "measured": runs, "s": round(seconds, 3)}


def _upload_weights(services: Services) -> None:
    place = Uri(services.settings.models_bucket, "tiny-llama")
    for path in bundled.path("examples/tiny-llama").iterdir():
        if path.name.startswith(("consolidated", "params", "tokenizer")):
            services.objects.write(place.child(path.name), path.read_bytes(), if_generation=None)


Arrived = queue.Queue[tuple[Event, datetime]]


@contextmanager
def _arrivals(services: Services) -> Generator[Arrived]:
    """Yield a queue of all events from now on, with the moment each was received."""
    client = clients.subscriber_client(services.settings.endpoints)
    path = f"projects/{services.settings.project}/subscriptions/benchmark"
    topic = services.settings.topic_path
    client.create_subscription(
        request={"name": path, "topic": topic, "enable_message_ordering": True}
    )
    arrived: Arrived = queue.Queue()

    def take(message: Any) -> None:
        now = datetime.now(UTC)
        arrived.put((events.from_message(message.data, dict(message.attributes)), now))
        message.ack()

    pull = client.subscribe(path, callback=take)
    try:
        yield arrived
    finally:
        pull.cancel()
        pull.result()
        client.close()


def _journey(services: Services, arrived: Arrived) -> tuple[float, list[float]]:
    """Upload the manifest; return seconds until it serves, and each event's seconds on the way."""
    manifest = Uri(services.settings.manifests_bucket, "tiny-llama.yaml")
    data = bundled.path("examples/tiny-llama/tiny-llama.yaml").read_bytes()
    started = time.monotonic()
    generation = services.objects.write(
        manifest, data, if_generation=None, content_type="application/yaml"
    )
    latencies: dict[str, float] = {}
    while True:
        event, received = arrived.get(timeout=JOURNEY_SECONDS)
        latencies.setdefault(event.id, (received - events.moment(event.time)).total_seconds())
        if event.data["generation"] != generation:
            continue
        if event.name == "model.serving":
            return time.monotonic() - started, list(latencies.values())
        if event.name == "deployment.failed":
            raise SystemExit(f"the journey failed: {event.data}")


def _cold_start_seconds(laptop: Laptop, number: int) -> float:
    """Start one more instance of on_manifest and send it the event of an object that is gone."""
    bucket = laptop.environ["SAXFLOW_MANIFESTS_BUCKET"]
    name = f"gone-{number}.yaml"
    attributes = {"id": name, "source": "benchmark", "type": FINALIZED}
    data = json.dumps({"bucket": bucket, "name": name, "generation": "1"}).encode()
    source = bundled.path("functions/on_manifest")
    started = time.monotonic()
    function = laptop.cloud.add_function(
        f"cold-{number}", source, "on_manifest", signature="cloudevent", env=laptop.environ
    )
    function.wait_ready()
    status = post(function.url, data, event_headers(attributes), JOURNEY_SECONDS)
    seconds = time.monotonic() - started
    if status >= 300:
        raise SystemExit(f"on_manifest answered {status}; see {function.log}")
    return seconds


def _help_seconds() -> float:
    return median(run([*SAXFLOW, "--help"]).seconds for _ in range(IMPORTS))


def _import_seconds() -> float:
    code = (
        "import time; t = time.perf_counter(); import saxflow.cli; print(time.perf_counter() - t)"
    )
    command = [sys.executable, "-c", code]
    return median(float(subprocess.check_output(command)) for _ in range(IMPORTS))
