"""saxflow installed on an embedded cloud, made cheap enough to take journeys by the hundred.

The converter uploads what the real one wrote before, TPU workers are `machines`, and every request
to a service passes `Chaos`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from saxflow import bundled
from saxflow import manifest as manifests
from saxflow.gcp import clients
from saxflow.gcp.objects import Objects, Uri
from saxflow.local.clock import RealClock
from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry
from saxflow.pipeline import accept as accepting
from saxflow.pipeline import services as wiring
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.services import Services
from saxflow.settings import load_settings
from saxflow.stack import images
from saxflow.stack.laptop import LOCATION, PROJECT, create, settings_on, workflow_sources
from saxflow.stack.tour import WEIGHTS

from .chaos import Chaos
from .functions import Functions
from .machines import Cells, machine_class
from .world import World

LONGEST_SLEEP_SECONDS = 0.1
INTERVALS = {
    "SAXFLOW_POLL_SECONDS": "0.1",
    "SAXFLOW_PROGRESS_SECONDS": "0.3",
    "SAXFLOW_LEASE_SECONDS": "30",
    "SAXFLOW_STATE_STALE_SECONDS": "600",
    "SAXFLOW_DEADLINE_SCALE": "0.1",
}


class ImpatientClock(RealClock):
    """Cuts every sleep short, above all the pauses between a Workflow's retries."""

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        """Wait, but not for long."""
        return super().sleep(min(seconds, LONGEST_SLEEP_SECONDS), cancel)


def impatient(source: str) -> str:
    """Return a Workflow whose retries wait a hundredth as long; how often they try stays."""
    short, found = re.subn(
        r"initial_delay: (\d+), max_delay: (\d+)",
        lambda match: f"initial_delay: {int(match[1]) / 100}, max_delay: {int(match[2]) / 100}",
        source,
    )
    assert found
    return short


@contextmanager
def installed(directory: Path, tiny_llama: Path) -> Iterator[World]:
    """Run a cloud with saxflow on it and the example's weights in it."""
    converted, cells, chaos = directory / "converted", Cells(), Chaos()
    cloud = LocalCloud(
        directory / "cloud",
        project=PROJECT,
        location=LOCATION,
        images=_images(converted),
        clock=ImpatientClock(),
    )
    functions = Functions(chaos)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saxflow.local.tpu.nodes.VirtualMachine", machine_class(cells))
        patch.setattr(cloud.faults, "take", chaos.take)
        functions.server.start()
        cloud.start()
        environ = {
            **settings_on(cloud),
            **INTERVALS,
            "SAXFLOW_COMMIT_URL": f"{functions.server.url}/commit",
            "SAXFLOW_PUBLISH_URL": f"{functions.server.url}/publish",
        }
        for key, value in environ.items():
            patch.setenv(key, value)
        wiring.services.cache_clear()
        create(environ, {name: impatient(source) for name, source in workflow_sources().items()})
        settings = load_settings()
        services = Services(settings, Objects(clients.storage_client(PROJECT, settings.endpoints)))
        _upload_weights(services, tiny_llama)
        manifest = (tiny_llama / "tiny-llama.yaml").read_text(encoding="utf-8")
        _convert(services, manifest, converted)
        yield World(cloud, services, chaos, manifest)
        cloud.stop()
        functions.server.stop()
        cells.stop()
        wiring.services.cache_clear()


def _images(converted: Path) -> ImageRegistry:
    converter = str(Path(__file__).with_name("converter.py"))
    return ImageRegistry(
        {
            images.CONVERT: (sys.executable, "-I", "-S", converter, str(converted)),
            images.ADMIN: ("true",),
            images.MODEL_SERVER: ("true",),
        }
    )


def _upload_weights(services: Services, folder: Path) -> None:
    place = Uri(services.settings.models_bucket, "tiny-llama")
    for name in WEIGHTS:
        data = (folder / name).read_bytes()
        services.objects.write(place.child(name), data, if_generation=None)


def _convert(services: Services, manifest: str, converted: Path) -> None:
    """Convert the example with the real worker."""
    parsed = manifests.parse(manifest.encode(), source_name="tiny-llama.yaml")
    event = Notification("finalized", "saxflow-manifests", "tiny-llama.yaml", "1")
    plan = accepting.compile_manifest(services, parsed, event, 1)
    job = json.loads(plan.parts["job.json"])
    arguments = job["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]["commands"]
    place = converted.with_name(plan.core["checkpoint"]["fingerprint"])
    place.mkdir()
    arguments[arguments.index("--destination") + 1] = place.as_uri()
    worker = str(bundled.path("batch_jobs/convert_checkpoint/main.py"))
    environ = os.environ | {"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "1"}
    subprocess.run([sys.executable, worker, *arguments], check=True, env=environ)
    place.rename(converted)
