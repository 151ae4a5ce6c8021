"""Each verb looks at a cell and answers done, failed or neither; a cell in trouble is not a failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from saxflow.errors import InputError
from saxflow.gcp.objects import Uri
from saxflow.pipeline.plans import find_plan, load_core, store_plan
from saxflow.pipeline.publish import NOT_ADVERTISED_SECONDS, VERBS, act
from saxflow.pipeline.services import Services
from saxflow.plan import Plan
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.methods import Method

ZONE = "us-central1-a"
MODEL_ID = "/sax/test/told"
STATES = m.SAX.enums["ModelStatus"]
Answers = dict[Method[Any, Any], Any]
"""Method -> reply, or (status code, details) to refuse with."""


class Peer:
    """An admin and a model server at one address that answer what they are told."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.asked: list[tuple[str, Any]] = []
        self._ended = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        behaviors = {method: self._behavior(method) for method in METHODS}
        behaviors[methods.WATCH_LOC] = self._watch
        self._server.add_generic_rpc_handlers(generic_handlers(behaviors))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._ended.set()
        self._server.stop(0).wait()

    def _behavior(self, method: Method[Any, Any]) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.asked.append((method.name, request))
            told = self.answers.get(method, method.reply())
            if isinstance(told, tuple):
                context.abort(*told)
            return told

        return answer

    def _watch(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.seqno:
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait(5)
        change = m.WatchResult.Mutation(addition=self.address)
        result = m.WatchResult(next_seqno=1, changelog=[change])
        return m.WatchLocResponse(admin_server_id="a", result=result)


METHODS = (methods.PUBLISH, methods.UNPUBLISH, methods.LIST, methods.STATS, methods.GET_STATUS, methods.GENERATE)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Peer]:
    running = Peer()
    yield running
    running.stop()


@pytest.fixture
def peer(server: Peer) -> Iterator[Peer]:
    yield server
    server.answers.clear()
    server.asked.clear()


@pytest.fixture
def core(services: Services, plan_of: Callable[..., Plan]) -> dict[str, Any]:
    reference = find_plan(services, "told", "1000") or store_plan(services, plan_of("told"))
    return load_core(services, reference.plan, reference.object_generation, reference.sha256)


@pytest.fixture
def locate(
    services: Services,
    core: dict[str, Any],
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], None]:
    """Return a function that writes the cell's location.proto."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", environ["STORAGE_EMULATOR_HOST"])
    place = Uri.parse(core["cell"]["sax_root"]).child("sax/test/")

    def write(address: str) -> None:
        location = m.Location(location=address).SerializeToString()
        services.objects.write(place.child("METADATA"), b"", if_generation=None)
        services.objects.write(place.child("location.proto"), location, if_generation=None)

    return write


@pytest.fixture
def look(
    services: Services, core: dict[str, Any], peer: Peer, locate: Callable[[str], None]
) -> Callable[..., dict[str, Any]]:
    """Return a function that does a verb on the peer's cell."""
    locate(peer.address)

    def ask(verb: str, *, now: float = 1_800_000_000.0, **request: Any) -> dict[str, Any]:
        at = replace(services, clock=lambda: now)
        return act(at, core, {"verb": verb, "zone": ZONE, **request})

    return ask


Look = Callable[..., dict[str, Any]]


def refused(code: grpc.StatusCode, details: str) -> tuple[grpc.StatusCode, str]:
    return code, details


def status(*found: tuple[str, str, str]) -> m.GetStatusResponse:
    every = [
        m.GetStatusResponse.ModelWithStatus(
            model_key=key, model_status=STATES[state], failure_reason=reason
        )
        for key, state, reason in found
    ]
    return m.GetStatusResponse(models=every)


def listed(*addresses: str) -> m.ListResponse:
    published = m.PublishedModel(
        model=m.Model(model_id=MODEL_ID), modelet_addresses=list(addresses)
    )
    return m.ListResponse(published_models=[published])


# --- Requests


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "verb is 'None'; use one of ready, publish, status, probe, unpublish"),
        ({"verb": "delete", "zone": ZONE}, "verb is 'delete'"),
        ({"verb": "publish"}, "zone is None"),
        ({"verb": "publish", "zone": ""}, "zone is ''"),
    ],
)
def test_a_request_that_makes_no_sense(
    services: Services, core: dict[str, Any], request_: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        act(services, core, request_)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "ready"])
def test_an_admin_that_is_not_up_yet_is_no_failure(
    services: Services, core: dict[str, Any], locate: Callable[[str], None], verb: str
) -> None:
    locate("127.0.0.1:9")
    found = act(services, core, {"verb": verb, "zone": ZONE})
    assert (found["done"], found["failed"]) == (False, False)
    assert "127.0.0.1:9" in found["reason"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "ready"])
def test_a_cell_without_location_is_no_failure(
    services: Services, core: dict[str, Any], locate: Callable[[str], None], verb: str
) -> None:
    locate("127.0.0.1:9")
    place = Uri.parse(core["cell"]["sax_root"]).child("sax/test/location.proto")
    services.objects.delete(place)
    found = act(services, core, {"verb": verb, "zone": ZONE})
    assert (found["done"], found["failed"]) == (False, False)
    assert "location.proto" in found["reason"]


# --- ready


def say(services: Services, core: dict[str, Any], state: str, log: str = "") -> None:
    said = datetime.fromtimestamp(1_800_000_000, UTC).isoformat()
    word = {"worker": 0, "state": state, "boot_id": "b", "time": said, "log": log}
    place = Uri(core["cell"]["bucket"], core["cell"]["workers"]).child("0.json")
    services.objects.write(place, json.dumps(word).encode(), if_generation=None)


def test_ready_waits_for_workers_and_the_admins_list(
    look: Look, peer: Peer, services: Services, core: dict[str, Any]
) -> None:
    say(services, core, "server", "loading jax")
    found = look("ready")
    assert (found["done"], found["failed"], found["log"]) == (False, False, "loading jax")
    assert "0 is server" in found["reason"]
    say(services, core, "ready")
    assert look("ready")["reason"].endswith("has joined yet; seen: none")
    other = m.ModelServerTypeStat(chip_type=6, chip_topology=23, num_replicas=1)
    peer.answers[methods.STATS] = m.StatsResponse(model_server_type_stats=[other])
    assert "seen: 1 of TPU_V4/" in look("ready")["reason"]
    right = m.ModelServerTypeStat(chip_type=15, chip_topology=22, num_replicas=1)
    peer.answers[methods.STATS] = m.StatsResponse(model_server_type_stats=[other, right])
    assert look("ready")["done"]


def test_a_worker_that_failed_ends_the_wait(
    look: Look, services: Services, core: dict[str, Any]
) -> None:
    say(services, core, "failed", "no such image")
    found = look("ready")
    assert (found["failed"], found["retryable"], found["log"]) == (True, True, "no such image")
    assert found["reason"] == "worker 0 failed to start SAX"


# --- publish, unpublish


def test_publishing_sends_the_plans_model(look: Look, peer: Peer, core: dict[str, Any]) -> None:
    assert look("publish")["done"]
    (_, request), *_ = [each for each in peer.asked if each[0] == "Publish"]
    assert request.model.model_id == MODEL_ID
    assert request.model.checkpoint_path == core["checkpoint"]["step"]


@pytest.mark.parametrize(
    ("verb", "details", "done", "failed"),
    [
        ("publish", "model exists: rpc error: code = AlreadyExists desc = model exists", True, False),
        ("publish", "it is being unpublished: rpc error: code = AlreadyExists desc = it is being unpublished", False, False),
        ("publish", "bad path: rpc error: code = InvalidArgument desc = bad path", False, True),
        ("unpublish", "gone: rpc error: code = NotFound desc = gone", True, False),
        ("unpublish", "oops: rpc error: code = Internal desc = oops", False, True),
    ],
)  # fmt: skip
def test_what_the_admin_says(
    look: Look, peer: Peer, verb: str, details: str, done: bool, failed: bool
) -> None:
    method = methods.PUBLISH if verb == "publish" else methods.UNPUBLISH
    peer.answers[method] = refused(grpc.StatusCode.UNKNOWN, details)
    found = look(verb)
    assert (found["done"], found["failed"]) == (done, failed)
    if failed:
        assert details.partition(":")[0] in found["reason"]


def test_unpublishing_is_done_when_the_admin_agrees(look: Look) -> None:
    found = look("unpublish")
    assert (found["done"], found["reason"]) == (True, f"{MODEL_ID} is not published")


# --- status


@pytest.mark.parametrize(
    ("found", "done", "failed", "said"),
    [
        ([(MODEL_ID, "LOADED", "")], True, False, "is loaded"),
        ([(MODEL_ID, "LOADING", "")], False, False, "is LOADING"),
        ([("/sax/test/other", "LOADED", "")], False, False, "not known to its server yet"),
        ([], False, False, "not known to its server yet"),
        ([(MODEL_ID, "FAILED", "no chunk 0.0")], False, True, "did not load: no chunk 0.0"),
        ([(MODEL_ID, "FAILED", "")], False, True, "the server gave no reason"),
    ],
)
def test_loading_is_followed_to_its_end(
    look: Look, peer: Peer, found: list[Any], done: bool, failed: bool, said: str
) -> None:
    peer.answers[methods.LIST] = listed(peer.address)
    peer.answers[methods.GET_STATUS] = status(*found)
    seen = look("status")
    assert (seen["done"], seen["failed"]) == (done, failed)
    assert said in seen["reason"]


def test_a_model_that_no_server_takes_fails_in_time(
    look: Look, peer: Peer, services: Services
) -> None:
    peer.answers[methods.LIST] = listed()
    since = 1_800_000_000.0
    limit = NOT_ADVERTISED_SECONDS * services.settings.deadline_scale
    early = look("status", since=since, now=since + limit)
    assert (early["done"], early["failed"]) == (False, False)
    assert "no model server has been given" in early["reason"]
    late = look("status", since=since, now=since + limit + 1)
    assert late["failed"]
    assert "does not advertise" in late["reason"]
    assert not look("status", since=0, now=since)["failed"]


# --- probe


def answered(*texts: str) -> m.GenerateResponse:
    return m.GenerateResponse(texts=[m.DecodedText(text=text, score=-1.0) for text in texts])


@pytest.mark.parametrize(
    ("texts", "done", "said"),
    [
        ([" Lily Potter", "second"], True, "Lily Potter"),
        (["  \n"], False, "got no text"),
        ([], False, "got no text"),
    ],
)
def test_only_a_text_is_proof_of_serving(
    look: Look, peer: Peer, texts: list[str], done: bool, said: str
) -> None:
    peer.answers[methods.GENERATE] = answered(*texts)
    found = look("probe")
    assert (found["done"], found["failed"]) == (done, not done)
    assert said in found["reason"]


def test_the_golden_words_must_be_in_the_text(
    services: Services,
    plan_of: Callable[..., Plan],
    peer: Peer,
    locate: Callable[[str], None],
    core: dict[str, Any],
) -> None:
    locate(peer.address)
    publication = services.objects.read_json(Uri("control", core["parts"]["publish.json"]["name"]))[
        0
    ]
    publication["smoke"] = {"prompt": "Q:", "contains": "Lily"}
    place = Uri("control", "deployments/told/1000/golden.json")
    data = json.dumps(publication).encode()
    generation = services.objects.write(place, data, if_generation=None)
    part = {"name": place.name, "generation": generation, "sha256": ""}
    golden = {**core, "parts": {**core["parts"], "publish.json": part}}
    peer.answers[methods.GENERATE] = answered("Petunia")
    found = act(services, golden, {"verb": "probe", "zone": ZONE})
    assert found["failed"]
    assert found["reason"] == "the golden prompt 'Q:' was answered 'Petunia', without 'Lily'"
    peer.answers[methods.GENERATE] = answered("Lily Evans")
    assert act(services, golden, {"verb": "probe", "zone": ZONE})["done"]


@pytest.mark.parametrize(
    ("code", "failed"),
    [(grpc.StatusCode.INVALID_ARGUMENT, True), (grpc.StatusCode.INTERNAL, True)],
)
def test_a_server_that_refuses_the_prompt_fails(
    look: Look, peer: Peer, code: grpc.StatusCode, failed: bool
) -> None:
    peer.answers[methods.GENERATE] = refused(code, "as told")
    found = look("probe")
    assert found["failed"] is failed
    assert "as told" in found["reason"]
