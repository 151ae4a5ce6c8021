"""The embedded cloud without functions: functions' code runs in the test, where it can be killed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from saxflow.gcp import clients
from saxflow.gcp.objects import Objects, Uri
from saxflow.local.cloud import LocalCloud
from saxflow.pipeline.services import Services
from saxflow.settings import load_settings
from saxflow.stack import images
from saxflow.stack.laptop import LOCATION, PROJECT, create, settings_on, workflow_sources


def only_the_lease(source: str) -> str:
    """Return the deploy Workflow cut down to reading the plan and taking the lease."""
    workflow = yaml.safe_load(source)
    steps = workflow["main"]["steps"]
    kept = [
        step for step in steps if next(iter(step)) in ("begin", "read_plan", "know_plan", "take")
    ]
    workflow["main"]["steps"] = [*kept, {"answer": {"return": "${lease}"}}]
    return yaml.safe_dump(workflow, sort_keys=False)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Generator[LocalCloud]:
    """Return an embedded cloud that is up."""
    running = LocalCloud(
        tmp_path_factory.mktemp("cloud"),
        project=PROJECT,
        location=LOCATION,
        images=images.registry(tmp_path_factory.getbasetemp()),
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def services(cloud: LocalCloud) -> Services:
    """Return clients of that cloud, with buckets, topic and Workflows in place."""
    environ = settings_on(cloud) | {
        "SAXFLOW_COMMIT_URL": "http://127.0.0.1:9",
        "SAXFLOW_PUBLISH_URL": "http://127.0.0.1:9",
    }
    sources = workflow_sources()
    create(environ, sources | {"deploy-model": only_the_lease(sources["deploy-model"])})
    settings = load_settings(environ)
    return Services(settings, Objects(clients.storage_client(PROJECT, settings.endpoints)))


@pytest.fixture(scope="module")
def drop(services: Services, tiny_llama: Path) -> Callable[[str], str]:
    """Return a function that uploads a manifest for a name and returns its generation."""
    place = Uri(services.settings.models_bucket, "tiny-llama")
    for path in tiny_llama.glob("*"):
        if path.suffix in (".pth", ".json", ".model"):
            services.objects.write(place.child(path.name), path.read_bytes(), if_generation=None)
    text = (tiny_llama / "tiny-llama.yaml").read_text(encoding="utf-8")

    def upload(name: str) -> str:
        uri = Uri(services.settings.manifests_bucket, f"{name}.yaml")
        data = text.replace("name: tiny-llama", f"name: {name}").encode()
        return services.objects.write(uri, data, if_generation=None) or ""

    return upload


class Crash(BaseException):
    """The process is gone: nothing in saxflow may catch this."""


@pytest.fixture
def crash_at() -> Callable[[int, Callable[[], Any]], bool]:
    """Return a function that runs an act and kills it at the n-th line of `saxflow.pipeline`.

    It answers whether the act was long enough to be killed.
    """
    import sys

    def run(line: int, act: Callable[[], Any]) -> bool:
        passed = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal passed
            if "/saxflow/pipeline/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                passed += 1
                if passed == line:
                    raise Crash
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            act()
        except Crash:
            return True
        finally:
            sys.settrace(before)
        return False

    return run
