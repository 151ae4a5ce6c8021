"""One set of clients a process, aimed where the environment says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from saxflow.errors import ConfigurationError
from saxflow.gcp.objects import Uri
from saxflow.pipeline.services import Services
from saxflow.pipeline.services import services as of_process


@pytest.fixture
def fresh() -> Iterator[None]:
    """Let the process forget its services before and after."""
    of_process.cache_clear()
    yield
    of_process.cache_clear()


@pytest.mark.usefixtures("fresh", "services")
def test_a_process_builds_them_once(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = of_process()
    assert of_process() is found
    assert found.settings.project == "proj"
    assert found.objects.stat(Uri("control", "none")) is None


@pytest.mark.usefixtures("fresh")
def test_an_environment_without_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SAXFLOW_CONTROL_BUCKET", raising=False)
    with pytest.raises(ConfigurationError, match="SAXFLOW_CONTROL_BUCKET"):
        of_process()


def test_clients_are_shared_and_speak_to_the_cloud(services: Services) -> None:
    parent = "projects/proj/locations/us-central1"
    assert list(services.batch.list_jobs(parent=parent)) == []
    assert list(services.tpu.list_queued_resources(parent=f"{parent}-a")) == []
    other = replace(services)
    for client in ("batch", "tpu", "executions", "publisher"):
        assert getattr(other, client) is getattr(services, client)
