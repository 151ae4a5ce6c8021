"""saxflow deployed on the embedded cloud of one machine: what a deployment creates, created here.

The same buckets, topic, Workflows, functions, triggers and schedule as on Google Cloud, made with
Google's own clients; only endpoints, intervals and images differ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from saxflow import bundled
from saxflow.local.children import ChildService
from saxflow.local.cloud import LocalCloud
from saxflow.settings import load_endpoints
from saxflow.stack import images, provision

PROJECT = "saxflow-local"
LOCATION = "us-central1"
BUCKETS = {
    "SAXFLOW_MANIFESTS_BUCKET": "saxflow-manifests",
    "SAXFLOW_CONTROL_BUCKET": "saxflow-control",
    "SAXFLOW_MODELS_BUCKET": "saxflow-models",
    "SAXFLOW_CELLS_BUCKET": "saxflow-cells",
}
TOPIC = "saxflow-events"
WORKFLOWS = {"deploy-model": "deploy_model.yaml", "teardown-model": "teardown_model.yaml"}
CALLED = {"commit-checkpoint": "commit_checkpoint", "publish-model": "publish_model"}
CALLING = {"on-manifest": "on_manifest", "reconcile": "reconcile"}
"""Functions by service name, with their directory and entry point; who calls must know the URLs of
those that are called.
"""

LOOPBACK = "127.0.0.1"
RECONCILE_SECONDS = 120.0
INTERVALS = {
    "SAXFLOW_POLL_SECONDS": "0.2",
    "SAXFLOW_PROGRESS_SECONDS": "1",
    "SAXFLOW_LEASE_SECONDS": "30",
    "SAXFLOW_HEARTBEAT_SECONDS": "1",
    "SAXFLOW_SERVER_RESTART_SECONDS": "1",
    "SAXFLOW_STATE_STALE_SECONDS": "20",
    "SAXFLOW_DEADLINE_SCALE": "0.1",
    "SAXFLOW_ALLOW_FILE_SOURCES": "1",
}


def settings_on(cloud: LocalCloud) -> dict[str, str]:
    """Return the settings of saxflow on an embedded cloud; only the functions' URLs are missing."""
    return {
        **cloud.environ(),
        **BUCKETS,
        **INTERVALS,
        "SAXFLOW_PROJECT": PROJECT,
        "SAXFLOW_LOCATION": LOCATION,
        "SAXFLOW_EVENTS_TOPIC": TOPIC,
        "SAXFLOW_CONVERT_IMAGE": images.CONVERT,
        "SAXFLOW_ADMIN_IMAGE": images.ADMIN,
        "SAXFLOW_MODEL_SERVER_IMAGE": images.MODEL_SERVER,
    }


def workflow_sources() -> dict[str, str]:
    """Return Workflow -> source."""
    return {name: bundled.text(f"workflows/{file}") for name, file in WORKFLOWS.items()}


def create(settings: Mapping[str, str], sources: Mapping[str, str]) -> None:
    """Create the buckets, the topic and the Workflows of an installation.

    Args:
        sources: Workflow -> source.

    Raises:
        CloudError: a service refused.
    """
    endpoints = load_endpoints(settings)
    provision.ensure_buckets(endpoints, PROJECT, BUCKETS.values(), LOCATION)
    provision.ensure_topic(endpoints, PROJECT, TOPIC)
    variables = {"SAXFLOW_STORAGE_ROOT": settings["STORAGE_EMULATOR_HOST"]}
    parent = f"projects/{PROJECT}/locations/{LOCATION}"
    for name, source in sources.items():
        provision.ensure_workflow(endpoints, parent, name, source, variables)


class Laptop:
    """The embedded cloud with saxflow on it; a context manager.

    Args:
        data_dir: everything that is stored lies below it.

    Attributes:
        environ: what clients must export; complete once the context is entered.
        cloud: the embedded cloud, for faults and outcomes in tests.
        functions: service name -> URL.
    """

    def __init__(self, data_dir: Path) -> None:
        data_dir = data_dir.resolve()  # containers have working directories of their own
        self.cloud = LocalCloud(
            data_dir, project=PROJECT, location=LOCATION, images=images.registry(data_dir)
        )
        self.environ: dict[str, str] = {}
        self.functions: dict[str, str] = {}

    def __enter__(self) -> Laptop:
        self.cloud.start()
        try:
            self._deploy()
        except BaseException:
            self.cloud.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.cloud.stop()

    def _deploy(self) -> None:
        settings = settings_on(self.cloud)
        called = [self._function(name, entry, settings) for name, entry in CALLED.items()]
        command = [sys.executable, str(bundled.path("functions/generate/main.py"))]
        # Cloud Run listens on every interface behind IAM; here there is only loopback.
        behind = {"SAXFLOW_GENERATE_HOST": LOOPBACK}
        generate = self.cloud.add_command("generate", command, env=settings | behind)
        settings |= {
            "SAXFLOW_COMMIT_URL": called[0].url,
            "SAXFLOW_PUBLISH_URL": called[1].url,
            "SAXFLOW_GENERATE": generate.url,
        }
        calling = [self._function(name, entry, settings) for name, entry in CALLING.items()]
        create(settings, workflow_sources())
        services = (*called, generate, *calling)
        for child in services:
            child.wait_ready()
        self.functions = {child.name: child.url for child in services}
        self._connect()
        self.environ = settings

    def _function(self, name: str, entry: str, settings: Mapping[str, str]) -> ChildService:
        signature = "cloudevent" if entry == "on_manifest" else "http"
        source = bundled.path(f"functions/{entry}")
        return self.cloud.add_function(name, source, entry, signature=signature, env=settings)

    def _connect(self) -> None:
        bucket, target = BUCKETS["SAXFLOW_MANIFESTS_BUCKET"], self.functions["on-manifest"]
        for event in ("finalized", "deleted"):
            self.cloud.add_trigger(f"manifest-{event}", bucket=bucket, event=event, url=target)
        url = self.functions["reconcile"]
        self.cloud.add_schedule("reconcile", url=url, every_seconds=RECONCILE_SECONDS)
