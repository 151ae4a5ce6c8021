"""Events of the manifests bucket reach the step they call for; all others are taken and logged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from saxflow.head import Head
from saxflow.pipeline.notification import TYPE_PREFIX, Notification
from saxflow.pipeline.on_manifest import handle
from saxflow.pipeline.services import services as of_process


@pytest.fixture(autouse=True)
def _deployed(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process be the function."""
    of_process.cache_clear()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    yield
    of_process.cache_clear()


def data_of(event: Notification) -> dict[str, Any]:
    return {"bucket": event.bucket, "name": event.name, "generation": event.generation}


def test_a_finalized_manifest_is_accepted_and_a_deleted_one_torn_down(
    drop: Callable[..., Notification], get_head: Callable[[str], Head]
) -> None:
    event = drop("routed")
    handle(f"{TYPE_PREFIX}finalized", data_of(event))
    assert get_head("routed").desired == event.generation
    of_process().objects.delete(of_manifest(event))
    handle(f"{TYPE_PREFIX}deleted", data_of(event))
    assert get_head("routed").tombstone == event.generation


def of_manifest(event: Notification) -> Any:
    from saxflow.gcp.objects import Uri

    return Uri(event.bucket, event.name)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("finalized", {"bucket": "models", "name": "m.yaml", "generation": "1"}, "not the manifests bucket"),
        ("finalized", b"no json", "left alone"),
        ("finalized", {"bucket": "manifests"}, "left alone"),
        ("", {}, "left alone"),
    ],
)  # fmt: skip
def test_what_nobody_can_act_on_is_taken(
    capsys: pytest.CaptureFixture[str], kind: str, data: Any, said: str
) -> None:
    handle(f"{TYPE_PREFIX}{kind}" if kind else "com.example.event", data)
    line = json.loads(capsys.readouterr().err)
    assert line["severity"] == "WARNING"
    assert said in line["message"]


def test_other_changes_of_an_object_are_of_no_concern(
    drop: Callable[..., Notification], capsys: pytest.CaptureFixture[str]
) -> None:
    handle(f"{TYPE_PREFIX}metadataUpdated", data_of(drop("quiet")))
    assert capsys.readouterr().err == ""
