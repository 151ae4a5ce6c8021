"""The embedded cloud with buckets, topic and two small Workflows; steps run in the test itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saxflow import events, head
from saxflow.events import Event
from saxflow.gcp import clients
from saxflow.gcp.objects import Objects, Uri
from saxflow.head import Head
from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry
from saxflow.manifest import parse
from saxflow.names import events_prefix, head_object
from saxflow.pipeline.eventlog import announce
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.services import Services
from saxflow.plan import Plan, WeightFacts, compile_plan
from saxflow.settings import Settings, load_settings
from saxflow.stack import provision
from saxflow.weights import Dimensions, SourceFile

PROJECT, LOCATION = "proj", "us-central1"
INSTALLATION = {
    "SAXFLOW_EVENTS_TOPIC": "told",
    "SAXFLOW_CONVERT_IMAGE": "r/convert@sha256:1",
    "SAXFLOW_ADMIN_IMAGE": "r/admin@sha256:2",
    "SAXFLOW_MODEL_SERVER_IMAGE": "r/server@sha256:3",
    "SAXFLOW_COMMIT_URL": "http://127.0.0.1:9",
    "SAXFLOW_PUBLISH_URL": "http://127.0.0.1:9",
    "SAXFLOW_DEADLINE_SCALE": "0.001",
}
WORKFLOW = """
main:
  params: [plan]
  steps:
    - kind:
        switch:
          - condition: ${text.match_regex(plan.name, "^busy")}
            next: stay
    - done:
        return: ${plan}
    - stay:
        call: sys.sleep
        args: {seconds: 3600}
"""


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCloud]:
    """Return an embedded cloud that is up."""
    running = LocalCloud(
        tmp_path_factory.mktemp("cloud"),
        project=PROJECT,
        location=LOCATION,
        images=ImageRegistry({}),
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="package")
def environ(cloud: LocalCloud, smallest_installation: dict[str, str]) -> dict[str, str]:
    """Return what functions on that cloud have in their environment."""
    return {**cloud.environ(), **smallest_installation, **INSTALLATION}


@pytest.fixture(scope="package")
def services(environ: dict[str, str]) -> Services:
    """Return clients of that cloud, with buckets, topic and Workflows in place."""
    settings = load_settings(environ)
    buckets = [value for name, value in environ.items() if name.endswith("_BUCKET")]
    provision.ensure_buckets(settings.endpoints, PROJECT, buckets, LOCATION)
    provision.ensure_topic(settings.endpoints, PROJECT, settings.events_topic)
    parent = f"projects/{PROJECT}/locations/{LOCATION}"
    for workflow in (settings.deploy_workflow, settings.teardown_workflow):
        provision.ensure_workflow(settings.endpoints, parent, workflow, WORKFLOW, {})
    return Services(settings, Objects(clients.storage_client(PROJECT, settings.endpoints)))


@pytest.fixture
def put_head(services: Services) -> Callable[[Head], Head]:
    """Return a function that stores a head whatever was there."""

    def put(value: Head) -> Head:
        uri = Uri(services.settings.control_bucket, head_object(value.name))
        services.objects.write(uri, value.encode(), if_generation=None)
        return value

    return put


@pytest.fixture
def get_head(services: Services) -> Callable[[str], Head]:
    """Return a function that reads a head that must be there."""

    def get(name: str) -> Head:
        uri = Uri(services.settings.control_bucket, head_object(name))
        return head.from_json(services.objects.read_json(uri)[0])

    return get


@pytest.fixture
def plan_of(services: Services) -> Callable[..., Plan]:
    """Return a function that compiles a plan of a tiny Llama without looking at any weights."""

    def build(name: str, generation: str = "1000", attempt: int = 1) -> Plan:
        return compile_plan(
            parse(_manifest(name), source_name=f"{name}.yaml"),
            services.settings,
            generation=generation,
            attempt=attempt,
            facts=_facts(),
            manifest_uri=f"gs://manifests/{name}.yaml",
        )

    return build


@pytest.fixture(scope="package")
def weights(services: Services, golden: Path) -> None:
    """Put the golden weights and their tokenizer in the models bucket."""
    place = Uri(services.settings.models_bucket, "llama")
    for path in (golden / "tiny_mha_2shards/meta").iterdir():
        services.objects.write(place.child(path.name), path.read_bytes(), if_generation=None)
    tokenizer = (golden / "tiny320.model").read_bytes()
    services.objects.write(place.child("tokenizer.model"), tokenizer, if_generation=None)


@pytest.fixture
def drop(services: Services, weights: None) -> Callable[..., Notification]:
    """Return a function that uploads a manifest and returns its event."""

    def upload(name: str, data: bytes | None = None, file: str = "") -> Notification:
        uri = Uri(services.settings.manifests_bucket, file or f"{name}.yaml")
        content = _manifest(name) if data is None else data
        generation = services.objects.write(uri, content, if_generation=None) or ""
        return Notification("finalized", uri.bucket, uri.name, generation)

    return upload


@pytest.fixture
def say(services: Services) -> Callable[..., Event]:
    """Return a function that announces an event and returns it as it was logged."""

    def announced(
        name: str, deployment: str, *, at: float = 0.0, generation: str = "1000", **more: Any
    ) -> Event:
        then = replace(services, clock=lambda: 1_800_000_000.0 + at)
        more = {"attempt": 1, "message": f"{name} was told", **more}
        announce(then, name, deployment=deployment, generation=generation, **more)
        prefix = events_prefix(deployment, generation)
        *_, last = services.objects.list(Uri(services.settings.control_bucket, prefix))
        return events.decode(services.objects.read(last.uri).data or b"")

    return announced


@pytest.fixture
def ran(services: Services) -> Callable[[str, str], list[dict[str, Any]]]:
    """Return a function that tells the arguments of a Workflow's Executions for a deployment."""

    def told(workflow: str, deployment: str) -> list[dict[str, Any]]:
        from google.cloud.workflows import executions_v1

        request = executions_v1.ListExecutionsRequest(
            parent=services.settings.workflow_path(workflow), view=executions_v1.ExecutionView.FULL
        )
        every = services.executions.list_executions(request=request)
        return [json.loads(e.argument) for e in every if e.labels["deployment"] == deployment]

    return told


@pytest.fixture
def settings(services: Services) -> Settings:
    return services.settings


def _manifest(name: str) -> bytes:
    return (
        f"apiVersion: saxflow/v1\nname: {name}\nweights: {{source: gs://models/llama}}\n".encode()
    )


def _facts() -> WeightFacts:
    dimensions = Dimensions(2, 64, 4, 4, 16, 192, 320)
    size = dimensions.parameters * 2 + 1000
    files = (
        SourceFile("consolidated.00.pth", size, "crc", "1"),
        SourceFile("params.json", 99, "crc", "2"),
    )
    return WeightFacts(files, {}, dimensions, "gs://models/llama/tokenizer.model")
