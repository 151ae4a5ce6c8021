"""The HTTP face as clients meet it: the tutorial's route, statuses, load, probes, shutdown."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import grpc
import httpx
import pytest

from saxflow.sax.names import ModelName

HELLO = {"model": "story", "prompt": "Once", "max_tokens": 3}


def test_the_tutorials_generate(door: Any, tell: Any, storyteller: Any) -> None:
    response = door.post("/generate", model="story", query="Q: é?")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == [["".join(tell("Q: é?", 128)), -1.25]]
    assert dict(storyteller.asked[0].extra_inputs.items) == {
        "temperature": 0.5,
        "per_example_max_decode_steps": 128.0,
        "per_example_top_k": 200.0,
        "per_example_top_p": pytest.approx(0.95),
    }


def test_the_tutorials_generate_without_extra_inputs(door: Any, storyteller: Any) -> None:
    door.post("/generate", model="/sax/test/story", query="x", extra_inputs=None)
    assert not storyteller.asked[0].extra_inputs.items


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/"),
        ("GET", "/listcell"),
        ("GET", "/listall"),
        ("POST", "/publish"),
        ("PUT", "/update"),
        ("POST", "/unpublish"),
    ],
)
def test_the_tutorials_other_routes_name_the_command(door: Any, verb: str, path: str) -> None:
    response = door.http.request(verb, path, json={"model": "x"})
    assert response.status_code == 404
    assert "saxflow sax" in door.error(response)["message"]


@pytest.mark.parametrize("path", ["/generate", "/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 3}', b"\xff\xfe"])
def test_bad_bodies(door: Any, path: str, body: bytes) -> None:
    response = door.http.post(path, content=body)
    assert response.status_code == 400
    assert door.error(response)["type"] == "invalid_request_error"


def test_where_the_tutorials_clients_look_for_the_text(door: Any) -> None:
    body = door.post("/generate", model="nobody", query="x").json()
    assert body["detail"] == body["error"]["message"]


def test_unknown_routes_and_methods(door: Any) -> None:
    assert door.error(door.http.get("/v2/x"))["code"] == "unknown_route"
    assert door.http.get("/v2/x").status_code == 404
    response = door.http.get("/v1/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    door.error(response)


def test_a_body_that_is_too_large(door: Any) -> None:
    response = door.http.post("/generate", content=b"x" * (5 * 1024 * 1024))
    assert response.status_code == 413
    assert door.error(response)["code"] == "body_too_large"


@pytest.mark.parametrize("name", ["nobody", "No Name", "/sax/test/other", "deployments/../x"])
def test_unknown_models(door: Any, name: str) -> None:
    response = door.post("/v1/completions", **{**HELLO, "model": name})
    assert response.status_code == 404
    assert door.error(response)["code"] == "model_not_found"


def test_a_sax_name_that_is_none(door: Any) -> None:
    response = door.post("/v1/completions", **{**HELLO, "model": "/sax/Test"})
    assert response.status_code == 400


def test_a_deployment_that_does_not_serve_yet(door: Any, installation: Any) -> None:
    installation.deploy("later", None)
    response = door.post("/v1/completions", **{**HELLO, "model": "later"})
    assert response.status_code == 503
    assert response.headers["retry-after"]
    error = door.error(response)
    assert error["code"] == "model_not_ready"
    assert "conversion.started" in error["message"]


def test_a_sax_name_that_two_deployments_serve(
    door: Any, installation: Any, storyteller: Any
) -> None:
    installation.deploy("twin", storyteller.address)
    response = door.post("/v1/completions", **{**HELLO, "model": "/sax/test/story"})
    assert response.status_code == 400
    assert "story, twin" in door.error(response)["message"]


@pytest.mark.parametrize(
    ("code", "words", "status", "name"),
    [
        (grpc.StatusCode.NOT_FOUND, "still loading or already unloaded", 503, "model_not_ready"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "full", 429, "backend_busy"),
        (grpc.StatusCode.UNAVAILABLE, "restarting", 503, "backend_unavailable"),
        (grpc.StatusCode.INTERNAL, "broken", 502, "backend_error"),
        (grpc.StatusCode.INVALID_ARGUMENT, "what?", 400, "backend_refused"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_model_server_refuses(
    door: Any,
    storyteller: Any,
    code: grpc.StatusCode,
    words: str,
    status: int,
    name: str,
    *,
    stream: bool,
) -> None:
    storyteller.refusals = [(code, words)] * 1000
    response = door.post("/v1/completions", **HELLO, stream=stream)
    assert response.status_code == status
    assert words in door.error(response)["message"]
    assert door.error(response)["code"] == name
    assert ("retry-after" in response.headers) is (status in (429, 503))


def test_a_backend_that_is_gone_and_one_that_came_back(
    open_door: Any, installation: Any, start_cell: Any, tell: Any
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        installation.deploy("story", address)
        door = open_door()
        response = door.post("/v1/completions", **HELLO)
        assert response.status_code == 503
        assert door.error(response)["code"] == "backend_unavailable"
    start_cell(address)
    assert door.post("/v1/completions", **HELLO).json()["choices"][0]["text"] == "".join(
        tell("Once", 3)
    )


def test_a_deployment_that_moved_is_found_again(
    open_door: Any, installation: Any, start_cell: Any, tell: Any
) -> None:
    old = start_cell()
    installation.deploy("story", old.address)
    door = open_door(head_seconds=3600.0)
    assert door.post("/v1/completions", **HELLO).status_code == 200
    installation.deploy("story", start_cell(models={"/sax/test/next"}).address, "/sax/test/next")
    old.refusals = [(grpc.StatusCode.UNAVAILABLE, "gone")] * 1000
    response = door.post("/v1/completions", **HELLO)
    assert response.json()["choices"][0]["text"] == "".join(tell("Once", 3))


def test_a_model_that_was_unpublished(door: Any, storyteller: Any) -> None:
    storyteller.models.clear()
    response = door.post("/v1/completions", **HELLO)
    assert response.status_code == 404
    assert "not found" in door.error(response)["message"]


@pytest.mark.parametrize(
    ("verb", "path", "status", "said"),
    [
        ("GET", "/v1/completion", 404, "GET /v1/completion is not served; try POST /generate"),
        ("GET", "/generate", 405, "GET /generate is not served; use POST"),
    ],
)
def test_a_wrong_route_or_method_is_told_a_right_one(
    door: Any, verb: str, path: str, status: int, said: str
) -> None:
    response = door.http.request(verb, path)
    assert response.status_code == status
    assert said in door.error(response)["message"]
    assert door.error(response)["code"] == "unknown_route"


def test_too_late(open_door: Any, storyteller: Any) -> None:
    door = open_door(request_seconds=0.3)
    storyteller.gate.clear()
    response = door.post("/v1/completions", **HELLO)
    assert response.status_code == 504
    assert door.error(response)["code"] == "timeout"


def test_the_queue_is_bounded(open_door: Any, storyteller: Any) -> None:
    door = open_door(max_active=1, max_waiting=1)
    storyteller.gate.clear()
    answers: list[httpx.Response] = []
    asking = [
        threading.Thread(target=lambda: answers.append(door.post("/v1/completions", **HELLO)))
        for _ in range(2)
    ]
    for thread in asking:
        thread.start()
    while "saxflow_requests_waiting 1.0" not in door.http.get("/metrics").text:
        assert len(answers) == 0
    response = door.post("/v1/completions", **HELLO)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert door.error(response)["code"] == "queue_full"
    storyteller.gate.set()
    for thread in asking:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]


def test_who_waits_too_long_for_a_turn(open_door: Any, storyteller: Any) -> None:
    door = open_door(max_active=1, max_waiting=5, request_seconds=0.4)
    storyteller.gate.clear()
    with door.http.stream("POST", "/v1/completions", json={**HELLO, "stream": True}):
        response = door.post("/v1/completions", **HELLO)
    assert response.status_code == 504


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_generation(
    door: Any, storyteller: Any, *, stream: bool
) -> None:
    body = {**HELLO, "max_tokens": 100, "stream": stream, "stop": "never"}
    storyteller.gate.clear()
    with pytest.raises(httpx.ReadTimeout):
        door.http.post("/v1/completions", json=body, timeout=0.3)
    assert storyteller.left.wait(10)
    wanted = 'saxflow_http_requests_total{route="/v1/completions",status="499"} 1.0'
    while wanted not in door.http.get("/metrics").text:
        assert "saxflow_requests_active" in door.http.get("/metrics").text
    assert "saxflow_requests_active 0.0" in door.http.get("/metrics").text


def test_a_client_that_leaves_amid_a_stream(door: Any, storyteller: Any) -> None:
    storyteller.holds_after = 3
    storyteller.gate.clear()
    with door.http.stream(
        "POST", "/v1/completions", json={**HELLO, "max_tokens": 9, "stream": True}
    ) as response:
        next(response.iter_bytes())
        assert not storyteller.left.is_set()
    assert storyteller.left.wait(10)
    while "saxflow_requests_active 0.0" not in door.http.get("/metrics").text:
        pass


def test_probes(open_door: Any, installation: Any, start_cell: Any) -> None:
    door = open_door()
    assert door.http.get("/healthz").json() == {"status": "ok"}
    response = door.http.get("/readyz")
    assert response.status_code == 503
    door.error(response)
    teller = start_cell()
    teller.refusals = [(grpc.StatusCode.INTERNAL, "no")]
    installation.deploy("story", teller.address)
    assert door.http.get("/readyz").status_code == 503
    assert door.http.get("/readyz").status_code == 200
    asked = len(teller.asked)
    assert door.http.get("/readyz").status_code == 200
    assert len(teller.asked) == asked, "a token was produced a moment ago"
    assert teller.asked[-1].extra_inputs.items["per_example_max_decode_steps"] == 1.0


def test_probes_need_no_key_but_figures_do(open_door: Any, storyteller: Any) -> None:
    door = open_door(api_keys=("one",))
    assert door.http.get("/healthz").status_code == 200
    assert door.http.get("/readyz").status_code == 200
    response = door.http.get("/metrics")
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert door.error(response)["code"] == "invalid_api_key"


def test_figures(door: Any) -> None:
    door.post("/v1/completions", **HELLO)
    door.http.get("/nowhere")
    text = door.http.get("/metrics").text
    assert 'saxflow_http_requests_total{route="/v1/completions",status="200"} 1.0' in text
    assert 'saxflow_http_requests_total{route="other",status="404"} 1.0' in text
    assert 'saxflow_tokens_total{kind="completion"}' in text
    assert "saxflow_time_to_first_text_seconds_count 1.0" in text


def test_what_is_in_flight_at_shutdown_ends_well(
    open_door: Any, storyteller: Any, tell: Any
) -> None:
    door = open_door()
    storyteller.holds_after = 3
    storyteller.gate.clear()
    body = {**HELLO, "max_tokens": 50, "stream": True}
    with door.http.stream("POST", "/v1/completions", json=body) as response:
        events = response.iter_lines()
        seen = [next(events)]
        door.server.should_exit = True
        storyteller.gate.set()
        seen += list(events)
    assert "data: [DONE]" in seen
    texts = [
        json.loads(line[6:])["choices"][0]["text"] for line in seen if line.startswith("data: {")
    ]
    assert "".join(texts) == "".join(tell("Once", 50))


def test_a_hundred_streams_at_once_lose_nothing(
    open_door: Any, storyteller: Any, tell: Any
) -> None:
    door = open_door()

    async def read(client: httpx.AsyncClient, number: int) -> str:
        body = {"model": "story", "prompt": f"é {number}", "max_tokens": 60, "stream": True}
        async with client.stream("POST", "/v1/completions", json=body) as response:
            assert response.status_code == 200
            lines = [line async for line in response.aiter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        return "".join(json.loads(line[6:])["choices"][0]["text"] for line in lines[:-1])

    async def read_all() -> list[str]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            base_url=door.url, timeout=120, limits=limits, trust_env=False
        ) as client:
            return await asyncio.gather(*(read(client, number) for number in range(100)))

    texts = asyncio.run(read_all())
    assert texts == ["".join(tell(f"é {number}", 60)) for number in range(100)]
    assert str(ModelName.parse("/sax/test/story")) == storyteller.asked[0].model_key
