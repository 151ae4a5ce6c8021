"""A laptop's installation is whole once its context is entered, and gone after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from saxflow.gcp import clients
from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry
from saxflow.settings import load_settings
from saxflow.stack.laptop import (
    BUCKETS,
    CALLED,
    CALLING,
    LOCATION,
    PROJECT,
    WORKFLOWS,
    Laptop,
    create,
    settings_on,
    workflow_sources,
)


def test_everything_of_a_deployment_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Laptop(Path("data")) as laptop:
        # containers have working directories of their own
        assert str(tmp_path / "data/jax-cache") in (tmp_path / "data/images.json").read_text()
        settings = load_settings(laptop.environ)
        assert set(laptop.functions) == {"generate", *CALLED, *CALLING}
        assert settings.generate_url == laptop.functions["generate"]
        assert settings.commit_url == laptop.functions["commit-checkpoint"]
        assert all(url.startswith("http://127.0.0.1:") for url in laptop.functions.values())
        storage = clients.storage_client(PROJECT, settings.endpoints)
        assert {bucket.name for bucket in storage.list_buckets()} == set(BUCKETS.values())
        storage.close()
        workflows = clients.workflows_client(settings.endpoints)
        listed = workflows.list_workflows(parent=f"projects/{PROJECT}/locations/{LOCATION}")
        assert {each.name.rsplit("/", 1)[1] for each in listed} == set(WORKFLOWS)
        workflows.transport.close()
        report = requests.post(laptop.functions["reconcile"], json={}, timeout=60)
        assert report.json() == {"repaired": [], "failed": []}
        url = laptop.functions["generate"]
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_a_directory_without_room_for_it_stops_what_was_started(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(OSError, match="logs"), Laptop(tmp_path):
        pass


def test_settings_before_functions_name_everything_else(tmp_path: Path) -> None:
    cloud = LocalCloud(tmp_path, project=PROJECT, location=LOCATION, images=ImageRegistry())
    cloud.start()
    settings = settings_on(cloud)
    cloud.stop()
    load_settings(settings)
    assert settings.keys().isdisjoint({"SAXFLOW_COMMIT_URL", "SAXFLOW_PUBLISH_URL"})
    assert settings["STORAGE_EMULATOR_HOST"] == cloud.storage.url


def test_workflows_can_be_created_from_other_sources(tmp_path: Path) -> None:
    cloud = LocalCloud(tmp_path, project=PROJECT, location=LOCATION, images=ImageRegistry())
    cloud.start()
    settings = settings_on(cloud)
    sources = dict.fromkeys(workflow_sources(), "main:\n  steps:\n  - out:\n      return: {}\n")
    create(settings, sources)
    client = clients.workflows_client(load_settings(settings).endpoints)
    listed = client.list_workflows(parent=f"projects/{PROJECT}/locations/{LOCATION}")
    names = [each.name for each in listed]
    found = {client.get_workflow(name=name).source_contents for name in names}
    client.transport.close()
    cloud.stop()
    assert found == set(sources.values())
