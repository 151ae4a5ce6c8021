"""saxflow deployed on the embedded cloud of one machine: what a deployment creates, created here.

The same buckets, topic, Workflows, functions, triggers and schedule as on Google Cloud, made with
Google's own clients; only endpoints, intervals and images differ.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from saxflow import bundled
from saxflow.local.cloud import LocalCloud
from saxflow.settings import load_endpoints
from saxflow.stack import images
from saxflow.stack.provision import ensure_buckets, ensure_topic, ensure_workflow

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
FUNCTIONS = {
    "commit-checkpoint": "commit_checkpoint",
    "publish-model": "publish_model",
    "reconcile": "reconcile",
}
"""HTTP functions: service name -> directory and entry point."""

RECONCILE_SECONDS = 120.0
INTERVALS = {
    "SAXFLOW_POLL_SECONDS": "0.2",
    "SAXFLOW_PROGRESS_SECONDS": "1",
    "SAXFLOW_LEASE_SECONDS": "30",
    "SAXFLOW_HEARTBEAT_SECONDS": "1",
    "SAXFLOW_STATE_STALE_SECONDS": "20",
    "SAXFLOW_DEADLINE_SCALE": "0.1",
    "SAXFLOW_ALLOW_FILE_SOURCES": "1",
}


class Laptop:
    """The embedded cloud with saxflow on it; a context manager.

    Args:
        data_dir: everything that is stored lies below it.

    Attributes:
        environ: what clients must export; complete once the context is entered.
        cloud: the embedded cloud, for faults and outcomes in tests.
    """

    def __init__(self, data_dir: Path) -> None:
        self.cloud = LocalCloud(
            data_dir, project=PROJECT, location=LOCATION, images=images.registry()
        )
        self.environ: dict[str, str] = {}

    def __enter__(self) -> Laptop:
        self.cloud.start()
        try:
            self._deploy()
        except BaseException:
            self.cloud.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cloud.stop()

    def _deploy(self) -> None:
        environ = {
            **self.cloud.environ(),
            **BUCKETS,
            **INTERVALS,
            "SAXFLOW_PROJECT": PROJECT,
            "SAXFLOW_LOCATION": LOCATION,
            "SAXFLOW_EVENTS_TOPIC": TOPIC,
            "SAXFLOW_CONVERT_IMAGE": images.CONVERT,
            "SAXFLOW_ADMIN_IMAGE": images.ADMIN,
            "SAXFLOW_MODEL_SERVER_IMAGE": images.MODEL_SERVER,
        }
        endpoints = load_endpoints(environ)
        ensure_buckets(endpoints, PROJECT, BUCKETS.values(), LOCATION)
        ensure_topic(endpoints, PROJECT, TOPIC)
        variables = {"SAXFLOW_STORAGE_ROOT": environ["STORAGE_EMULATOR_HOST"]}
        parent = f"projects/{PROJECT}/locations/{LOCATION}"
        for name, file in WORKFLOWS.items():
            source = bundled.text(f"workflows/{file}")
            ensure_workflow(endpoints, parent, name, source, variables)
        self.environ = environ | self._add_functions(environ)

    def _add_functions(self, environ: dict[str, str]) -> dict[str, str]:
        """Start every function at once, then wait for all of them."""
        raise SystemExit
