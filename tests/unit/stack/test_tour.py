"""The demo's tour over an embedded cloud without functions: the test says what they would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from saxflow import head as heads
from saxflow.errors import CloudError, ProtocolError
from saxflow.gcp.objects import Uri
from saxflow.head import Attempt, Head, Source
from saxflow.local.cloud import LocalCloud
from saxflow.local.http import HttpServer, Request, Response, json_response
from saxflow.local.images import ImageRegistry
from saxflow.pipeline.eventlog import announce
from saxflow.pipeline.heads import change_head
from saxflow.pipeline.services import Services, services
from saxflow.stack import provision
from saxflow.stack.laptop import BUCKETS, LOCATION, PROJECT
from saxflow.stack.tour import DEPLOYMENT, WEIGHTS, Tour


class Generator:
    """What stands for functions/generate: answers what it was told."""

    def __init__(self) -> None:
        self.asked: list[dict[str, object]] = []
        self.answer: Response = json_response(200, [["a text", -1.0]])
        self.server = HttpServer(self._handle)
        self.server.start()

    def _handle(self, request: Request) -> Response:
        self.asked.append(json.loads(request.body.read()))
        return self.answer


@pytest.fixture
def generator() -> Iterator[Generator]:
    built = Generator()
    yield built
    built.server.stop()


@pytest.fixture
def here(
    tmp_path: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    cloud = LocalCloud(tmp_path, project=PROJECT, location=LOCATION, images=ImageRegistry({}))
    cloud.start()
    more = {"SAXFLOW_PROJECT": PROJECT, "SAXFLOW_GENERATE": generator.server.url}
    for name, value in {**cloud.environ(), **BUCKETS, **more}.items():
        monkeypatch.setenv(name, value)
    services.cache_clear()
    found = services()
    provision.ensure_buckets(found.settings.endpoints, PROJECT, BUCKETS.values(), LOCATION)
    provision.ensure_topic(found.settings.endpoints, PROJECT, found.settings.events_topic)
    yield found
    services.cache_clear()
    cloud.stop()


@pytest.fixture
def tour(here: Services) -> Tour:
    built = Tour()
    built.upload()
    return built


def tell(here: Services, *told: str) -> None:
    stat = here.objects.stat(Uri(here.settings.manifests_bucket, f"{DEPLOYMENT}.yaml"))
    assert stat
    for at, name in enumerate(told):
        then = replace(here, clock=lambda at=at: 1_800_000_000.0 + at)
        announce(
            then, name, deployment=DEPLOYMENT, generation=stat.generation, attempt=1, message="m"
        )


def serve(here: Services) -> None:
    tell(here, "manifest.accepted", "model.serving")

    def promoted(head: Head) -> Head:
        attempt = Attempt("1", 1, sax_root="gs://cells/r", checkpoint="gs://models/c")
        wanted = heads.desire(head, "1", Source("b", "o"))
        assert isinstance(wanted, Head)
        return replace(wanted, serving=attempt)

    change_head(here, DEPLOYMENT, promoted)


def test_weights_are_there_before_the_manifest(here: Services, tour: Tour) -> None:
    manifest = here.objects.stat(tour.manifest_uri)
    assert manifest
    weights = [i for i in here.objects.list(Uri(here.settings.models_bucket, "")) if i.size_bytes]
    assert {item.uri.name.rsplit("/", 1)[1] for item in weights} == set(WEIGHTS)
    assert all(int(item.generation) < int(manifest.generation) for item in weights)


def test_a_served_model_is_asked_over_http(
    here: Services, tour: Tour, generator: Generator
) -> None:
    serve(here)
    assert [event.name for event in tour.events(30)] == ["manifest.accepted", "model.serving"]
    assert tour.state == "serving"
    result = tour.result()
    assert result["text"] == "a text"
    assert result["events"] == ["manifest.accepted", "model.serving"]
    assert (result["sax_root"], result["checkpoint"]) == ("gs://cells/r", "gs://models/c")
    assert result["seconds"] > 0
    (asked,) = generator.asked
    assert (asked["model"], asked["query"]) == (DEPLOYMENT, result["prompt"])


def test_a_failure_is_told_and_nothing_is_asked(
    here: Services, tour: Tour, generator: Generator
) -> None:
    tell(here, "manifest.accepted", "deployment.failed")
    assert len(list(tour.events(30))) == 2
    result = tour.result()
    assert (result["state"], result["text"], result["sax_root"]) == ("failed", None, None)
    assert generator.asked == []


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (json_response(503, {"error": "busy"}), CloudError, "503 .*busy"),
        (json_response(200, []), ProtocolError, r"answered '\[\]'"),
        (json_response(200, {"a": 1}), ProtocolError, "answered"),
        (json_response(200, 5), ProtocolError, "answered '5'"),
    ],
)
def test_an_answer_that_is_none_is_named(
    here: Services,
    tour: Tour,
    generator: Generator,
    answer: Response,
    kind: type[Exception],
    said: str,
) -> None:
    serve(here)
    assert list(tour.events(30))
    generator.answer = answer
    with pytest.raises(kind, match=said):
        tour.result()


def test_nobody_to_ask_is_trouble_worth_repeating(
    here: Services, tour: Tour, generator: Generator
) -> None:
    serve(here)
    assert list(tour.events(30))
    generator.server.stop()
    with pytest.raises(CloudError, match="POST http://127") as caught:
        tour.result()
    assert caught.value.retryable


def test_the_wait_ends(tour: Tour) -> None:
    assert list(tour.events(0.0)) == []
    assert tour.state == "unknown"
