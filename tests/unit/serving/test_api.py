"""Every route without a socket: statuses, bodies, hostile input, clients that leave."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from starlette.applications import Starlette

from saxflow.head import Head
from saxflow.pipeline.services import Services
from saxflow.serving.api import MAX_BODY_BYTES, TUTORIAL_ROUTES, Api, exception_handlers
from saxflow.serving.backends import Backends
from saxflow.serving.deployments import Deployments
from saxflow.settings import load_serving_settings

HELLO: dict[str, Any] = {"model": "story", "prompt": "1,2", "max_tokens": 5}
CHAT: dict[str, Any] = {"model": "story", "messages": [{"role": "user", "content": "x"}]}
POSTS = ("/generate", "/v1/completions", "/v1/chat/completions")
Visit = Callable[[httpx.AsyncClient, Starlette], Awaitable[Any]]
Serve = Callable[..., Any]


@pytest.fixture
def serve(installation: Any) -> Serve:
    """Return a function that lets a visitor ask the routes."""

    def run(visit: Visit, wiring: Callable[[], Services] | None = None, **changes: Any) -> Any:
        settings = replace(load_serving_settings({}), patience_seconds=0.0, **changes)

        async def inside() -> Any:
            deployments = Deployments(wiring or installation.wiring, believe_seconds=60)
            backends = Backends(deployments, patience_seconds=0.0)
            app = Starlette(
                routes=Api(backends, settings).routes(), exception_handlers=exception_handlers()
            )
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
                try:
                    return await visit(client, app)
                finally:
                    await backends.close()

        return asyncio.run(inside())

    return run


@pytest.fixture
def ask(serve: Serve) -> Callable[..., httpx.Response]:
    """Return a function that sends one request."""

    def send(method: str, path: str, **options: Any) -> httpx.Response:
        settings = options.pop("settings", {})

        async def visit(client: httpx.AsyncClient, _: Starlette) -> httpx.Response:
            return await client.request(method, path, **options)

        return serve(visit, **settings)

    return send


Ask = Callable[..., httpx.Response]


@pytest.fixture
def story(installation: Any, teller: Any) -> Any:
    """Return the model behind the deployment `story`, a model of ids."""
    installation.deploy("story", teller.address)
    return teller


def refusal(response: httpx.Response, status: int, code: str | None) -> dict[str, Any]:
    """Return OpenAI's error object after a look at its shape."""
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (response.status_code, error["code"]) == (status, code)
    return error


def events(response: httpx.Response) -> list[Any]:
    """Return what the server-sent events hold."""
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    parts = response.text.split("\n\n")
    assert parts.pop() == ""
    texts = [part.removeprefix("data: ") for part in parts]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


# The tutorial's route


def test_the_tutorials_generate(ask: Ask, story: Any) -> None:
    response = ask("POST", "/generate", json={"model": "story", "query": "1,2"})
    assert (response.status_code, response.json()) == (200, [["5,6,7", -1.25]])
    sent = dict(story.asked[0].extra_inputs.items)
    assert sent["per_example_max_decode_steps"] == 20, "128 is more than the deployment gives"
    assert sent["temperature"] == 0.5


@pytest.mark.parametrize(
    ("extra", "sent"),
    [
        (None, {}),
        ({"per_example_max_decode_steps": "3"}, {"per_example_max_decode_steps": 3}),
        ({"per_example_max_decode_steps": 1e30}, {"per_example_max_decode_steps": 20}),
        ({"own": -1}, {"own": -1, "per_example_max_decode_steps": 20}),
    ],
)
def test_extra_inputs(ask: Ask, story: Any, extra: Any, sent: dict[str, float]) -> None:
    ask("POST", "/generate", json={"model": "story", "query": "1", "extra_inputs": extra})
    received = dict(story.asked[0].extra_inputs.items)
    assert received | sent == received
    assert bool(received) is bool(sent)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": "story"}, "query"),
        ({"model": "story", "query": 5}, "query"),
        ({"model": "story", "query": "words"}, "query"),
        ({"model": "story", "query": "1,2,3,4,5,6,7,8"}, "query"),
        ({"model": "story", "query": "1", "extra_inputs": 5}, "extra_inputs"),
        ({"model": "story", "query": "1", "extra_inputs": {"a": "x"}}, "extra_inputs"),
        ({"model": "story", "query": "1", "extra_inputs": {"a": "inf"}}, "extra_inputs"),
    ],
)
def test_what_the_tutorials_route_refuses(
    ask: Ask, story: Any, body: dict[str, Any], param: str
) -> None:
    response = ask("POST", "/generate", json=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert response.json()["detail"] == error["message"]
    assert story.asked == []


@pytest.mark.parametrize(("verb", "path"), TUTORIAL_ROUTES)
def test_administration_is_elsewhere(ask: Ask, verb: str, path: str) -> None:
    error = refusal(ask(verb, path), 404, "unknown_route")
    assert error["message"] == (
        f"{verb} {path} is not served: administration is not reachable over HTTP; use"
        " `saxflow sax ls|publish|update|unpublish` with --sax-root"
    )


# Bodies and routes that are none


@pytest.mark.parametrize("path", POSTS)
def test_bodies_that_are_no_object(ask: Ask, path: str) -> None:
    for body in (
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ):
        error = refusal(ask("POST", path, content=body), 400, "invalid_json")
        assert error["type"] == "invalid_request_error"
        assert error["message"].startswith("the body is ")


@pytest.mark.parametrize("path", POSTS)
def test_names_that_utf8_cannot_hold(ask: Ask, path: str) -> None:
    body = b'{"model": "\\ud800", "query": "x", "prompt": "x", "messages": [{"role": "user", "content": "x"}]}'
    error = refusal(ask("POST", path, content=body), 400, None)
    assert (error["param"], "surrogate" in error["message"]) == ("model", True)


def test_the_largest_body(ask: Ask, story: Any) -> None:
    body = json.dumps(HELLO).encode()
    assert ask("POST", "/v1/completions", content=body.ljust(MAX_BODY_BYTES)).status_code == 200
    response = ask("POST", "/v1/completions", content=body.ljust(MAX_BODY_BYTES + 1))
    error = refusal(response, 413, "body_too_large")
    assert error["message"] == f"the body exceeds {MAX_BODY_BYTES} bytes"


def test_routes_and_methods_that_do_not_exist(ask: Ask) -> None:
    error = refusal(ask("GET", "/v1/unknown/é"), 404, "unknown_route")
    assert error["message"].startswith("GET /v1/unknown/é is not served; try POST /generate")
    for verb, path, allowed in (("GET", "/generate", "POST"), ("DELETE", "/healthz", "GET, HEAD")):
        response = ask(verb, path)
        message = refusal(response, 405, "unknown_route")["message"]
        assert message == f"{verb} {path} is not served; use {response.headers['allow']}"
        assert set(response.headers["allow"].split(", ")) == set(allowed.split(", "))


# OpenAI's routes


def test_a_completion(ask: Ask, story: Any) -> None:
    body = ask("POST", "/v1/completions", json=HELLO).json()
    assert (body["object"], body["model"]) == ("text_completion", "story")
    assert body["choices"] == [
        {"index": 0, "text": "5,6,7", "logprobs": None, "finish_reason": "stop"}
    ]
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


def test_a_stream(ask: Ask, story: Any) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *pieces, last, usage, done = events(ask("POST", "/v1/completions", json=HELLO | options))
    assert "".join(piece["choices"][0]["text"] for piece in pieces) == "5,6,7"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 6, "[DONE]")
    assert len({piece["id"] for piece in [*pieces, last, usage]}) == 1


def test_a_stream_of_nothing(ask: Ask, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    teller.pieces = []
    last, done = events(ask("POST", "/v1/completions", json=HELLO | {"stream": True}))
    assert (last["choices"][0]["finish_reason"], done) == ("stop", "[DONE]")


def test_a_stream_that_breaks_off_says_so_last(ask: Ask, story: Any) -> None:
    story.pieces = ["5,", "6,", "\ud800"]
    *_, last = events(ask("POST", "/v1/completions", json=HELLO | {"stream": True}))
    assert last["error"]["type"] == "server_error"
    assert "[DONE]" not in last


def test_a_chat(ask: Ask, installation: Any, teller: Any, tmp_path: Path) -> None:
    installation.deploy("story", teller.address, tokenizer=f"file://{tmp_path}/none.model")
    body = ask("POST", "/v1/chat/completions", json=CHAT).json()
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "5,6,7"}
    assert body["usage"] is None
    assert teller.asked[0].text == "[INST] x [/INST]"
    first, *_, done = events(ask("POST", "/v1/chat/completions", json=CHAT | {"stream": True}))
    assert (first["choices"][0]["delta"], done) == ({"role": "assistant", "content": ""}, "[DONE]")


def test_models(ask: Ask, installation: Any) -> None:
    assert ask("GET", "/v1/models").json() == {"object": "list", "data": []}
    for name in ("two", "one"):
        installation.deploy(name, "127.0.0.1:1", f"/sax/test/{name}")
    listed = ask("GET", "/v1/models").json()["data"]
    assert [entry["id"] for entry in listed] == ["one", "two"]
    assert listed[0]["created"] == 1000
    assert ask("GET", "/v1/models/one").json() == listed[0]
    assert ask("GET", "/v1/models//sax/test/one").json() == listed[0]


@pytest.mark.parametrize("name", ["none", "é", "%00", "one/", "a%2Fb", "x" * 5000])
def test_models_that_are_none(ask: Ask, installation: Any, name: str) -> None:
    refusal(ask("GET", f"/v1/models/{name}"), 404, "model_not_found")


# Whose fault it is


def test_what_does_not_serve_yet(ask: Ask, installation: Any) -> None:
    installation.head(Head("story", desired="7"))
    response = ask("POST", "/v1/completions", json=HELLO)
    assert "does not serve yet (accepted)" in refusal(response, 503, "model_not_ready")["message"]
    assert response.headers["retry-after"] == "5"


def test_a_plan_that_is_broken(ask: Ask, installation: Any) -> None:
    installation.deploy("story", "127.0.0.1:1", vocab="many")
    error = refusal(ask("POST", "/v1/completions", json=HELLO), 502, "backend_error")
    assert error["type"] == "server_error"
    assert ask("GET", "/v1/models").json()["data"] == []


def test_a_control_bucket_that_refuses(ask: Ask, installation: Any) -> None:
    installation.faults.arm("storage", "*", "return-403", count=None)
    for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/story"), ("POST", POSTS[1])):
        response = ask(method, path, json=HELLO)
        refusal(response, 503, "control_unavailable")
        assert response.headers["retry-after"] == "5"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        (grpc.StatusCode.INTERNAL, 502, "backend_error"),
        (grpc.StatusCode.INVALID_ARGUMENT, 400, "backend_refused"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "backend_busy"),
        (grpc.StatusCode.UNAVAILABLE, 503, "backend_unavailable"),
    ],
)
def test_what_the_model_server_refuses(
    ask: Ask, story: Any, code: grpc.StatusCode, status: int, name: str, *, stream: bool
) -> None:
    story.refusals = [(code, "words é")] * 20
    response = ask("POST", "/v1/completions", json=HELLO | {"stream": stream})
    assert "words é" in refusal(response, status, name)["message"]


def test_a_bug_tells_nothing_and_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Services:
        raise ZeroDivisionError("secret detail")

    async def visit(client: httpx.AsyncClient, _: Starlette) -> httpx.Response:
        return await client.post("/v1/completions", json=HELLO)

    error = refusal(serve(visit, broken), 500, "internal_error")
    assert error["message"] == "internal error; see the server's log"
    assert "secret detail" in caplog.text


# Time, places, figures


def test_an_answer_that_takes_too_long(ask: Ask, story: Any) -> None:
    story.gate.clear()
    response = ask("POST", "/v1/completions", json=HELLO, settings={"request_seconds": 0.2})
    refusal(response, 504, "timeout")
    story.gate.set()


def test_places_at_work(serve: Serve, story: Any) -> None:
    story.gate.clear()

    async def visit(client: httpx.AsyncClient, _: Starlette) -> list[httpx.Response]:
        async def figure(text: str) -> None:
            while text not in (await client.get("/metrics")).text:
                await asyncio.sleep(0)

        one = asyncio.create_task(client.post("/v1/completions", json=HELLO))
        await figure("saxflow_requests_active 1.0")
        two = asyncio.create_task(client.post("/v1/completions", json=HELLO))
        await figure("saxflow_requests_waiting 1.0")
        three = await client.post("/v1/completions", json=HELLO)
        story.gate.set()
        answers = [await one, await two, three]
        await figure("saxflow_requests_active 0.0")
        return answers

    one, two, three = serve(visit, max_active=1, max_waiting=1)
    assert (one.status_code, two.status_code) == (200, 200)
    error = refusal(three, 429, "queue_full")
    assert error["message"] == "1 requests are at work and 1 wait; try again soon"
    assert three.headers["retry-after"] == "1"


def test_waiting_for_a_turn_is_part_of_a_requests_time(serve: Serve, story: Any) -> None:
    story.gate.clear()

    async def visit(client: httpx.AsyncClient, _: Starlette) -> list[httpx.Response]:
        return await asyncio.gather(*(client.post("/v1/completions", json=HELLO) for _ in range(3)))

    for answer in serve(visit, max_active=1, request_seconds=0.3):
        refusal(answer, 504, "timeout")
    story.gate.set()


def test_probes_and_figures(serve: Serve, story: Any, installation: Any) -> None:
    async def visit(client: httpx.AsyncClient, _: Starlette) -> list[httpx.Response]:
        return [await client.get(path) for path in ("/healthz", "/readyz", "/metrics")]

    health, ready, figures = serve(visit)
    assert (health.json(), ready.json()) == ({"status": "ok"}, {"status": "ready"})
    assert figures.headers["content-type"].startswith("text/plain")
    assert "saxflow_requests_active 0.0" in figures.text
    installation.begin()
    _, ready, _ = serve(visit)
    assert refusal(ready, 503, "not_ready")["message"] == "no model answers"


# Clients that leave


async def visit_and_leave(
    app: Starlette, path: str, received: list[dict[str, Any]], leave: asyncio.Event
) -> list[dict[str, Any]]:
    """Return what the application sends to a client that goes when `leave` is set."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if received:
            return received.pop(0)
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": [],
        "query_string": b"", "http_version": "1.1", "scheme": "http", "root_path": "",
        "server": ("host", 80), "client": ("host", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("path", POSTS)
def test_a_client_that_leaves_amid_its_body_is_no_bug(
    serve: Serve, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async def visit(_: httpx.AsyncClient, app: Starlette) -> list[dict[str, Any]]:
        leave = asyncio.Event()
        leave.set()
        begun = {"type": "http.request", "body": b'{"model":', "more_body": True}
        return await visit_and_leave(app, path, [begun], leave)

    with caplog.at_level(logging.WARNING):
        start, *_ = serve(visit)
    assert start["status"] == 499
    assert caplog.text == ""


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", POSTS)
def test_a_client_that_leaves_before_the_answer(
    serve: Serve, installation: Any, teller: Any, tmp_path: Path, path: str, *, stream: bool
) -> None:
    installation.deploy("story", teller.address, tokenizer=f"file://{tmp_path}/none.model")
    teller.gate.clear()
    body = HELLO | CHAT | {"query": "1", "stream": stream}

    async def visit(_: httpx.AsyncClient, app: Starlette) -> list[dict[str, Any]]:
        leave = asyncio.Event()
        whole = {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
        going = asyncio.create_task(visit_and_leave(app, path, [whole], leave))
        while not teller.asked and not going.done():
            await asyncio.sleep(0)
        leave.set()
        return await going

    start, *_ = serve(visit)
    teller.gate.set()
    assert start["status"] == 499
