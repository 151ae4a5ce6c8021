"""The routes: what each does with a request, without knowing who listens.

Every answer, refusals included, is made here or in the exception handlers below, so that clients
always find OpenAI's error object.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from saxflow.errors import DeadlineError, RequestError, SaxflowError
from saxflow.serving import replies
from saxflow.serving.admission import Admission
from saxflow.serving.answers import Answer, check_prompt, prepare
from saxflow.serving.backends import Backends, Question
from saxflow.serving.failures import CLIENT_GONE, Failure, failure_of, internal
from saxflow.serving.metrics import Metrics
from saxflow.serving.readiness import Readiness
from saxflow.serving.replies import Envelope
from saxflow.serving.requests import (
    Completion,
    parse_chat,
    parse_completion,
    parse_object,
    parse_tutorial,
)
from saxflow.settings import ServingSettings

MAX_BODY_BYTES = 4 * 1024 * 1024
SOME_ROUTES = "POST /generate, /v1/completions or /v1/chat/completions, or GET /v1/models"
"""What a client that asked for another one is told."""
TUTORIAL_ROUTES = (
    ("GET", "/"),
    ("GET", "/listcell"),
    ("GET", "/listall"),
    ("POST", "/publish"),
    ("PUT", "/update"),
    ("POST", "/unpublish"),
)
"""What the tutorial's server also offers; here administration is not reachable over HTTP."""

_LOG = logging.getLogger(__name__)
Result = TypeVar("Result")


class EventStream(StreamingResponse):
    """Server-sent events; the generation ends with the connection."""

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


class Api:
    """All routes over one set of backends."""

    def __init__(self, backends: Backends, settings: ServingSettings) -> None:
        self._backends = backends
        self._settings = settings
        self._admission = Admission(settings.max_active, settings.max_waiting)
        self._readiness = Readiness(backends)
        self.metrics = Metrics(self._admission)

    def routes(self) -> list[Route]:
        """Return the routing table."""
        return [
            Route("/generate", self.generate, methods=["POST"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat_completions, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{name:path}", self.model, methods=["GET"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.prometheus, methods=["GET"]),
            *(Route(path, _administration, methods=[verb]) for verb, path in TUTORIAL_ROUTES),
        ]

    async def generate(self, request: Request) -> Response:
        """`POST /generate` as in the tutorial: a bare array of [text, score]."""
        wanted = parse_tutorial(parse_object(await _body(request)))
        target = await self._backends.find(wanted.model)
        tokenizer = await self._backends.tokenizer(target)
        await check_prompt(target, tokenizer, wanted.query, "query")
        options = dict(wanted.extra_inputs)
        steps = "per_example_max_decode_steps"
        if steps in options:
            options[steps] = min(options[steps], float(target.servable.max_new_tokens))

        async def work() -> bytes:
            async with self._turn() as seconds:
                question = Question(wanted.model, wanted.query, options, seconds)
                async with aclosing(self._backends.ask(question)) as answers:
                    samples = await anext(answers)
            self._readiness.prove(wanted.model)
            return replies.tutorial_body(samples)

        return _json(await _unless_gone(request, work()))

    async def completions(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        return await self._complete(request, parse_completion(parse_object(await _body(request))))

    async def chat_completions(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        return await self._complete(request, parse_chat(parse_object(await _body(request))))

    async def models(self, _: Request) -> Response:
        """`GET /v1/models`: every deployment that serves."""
        entries = [
            replies.model_entry(target.deployment, target.created, str(target.model))
            for target in await self._backends.all()
        ]
        return _json(replies.json_bytes({"object": "list", "data": entries}))

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/NAME`."""
        target = await self._backends.find(request.path_params["name"])
        entry = replies.model_entry(target.deployment, target.created, str(target.model))
        return _json(replies.json_bytes(entry))

    async def healthz(self, _: Request) -> Response:
        """`GET /healthz`: the process answers."""
        return _json(replies.json_bytes({"status": "ok"}))

    async def readyz(self, _: Request) -> Response:
        """`GET /readyz`: some deployment has produced a token."""
        reason = await self._readiness.ready()
        if reason is not None:
            _LOG.warning("not ready: %s", reason)
            return _refuse(Failure(503, "server_error", "no model answers", code="not_ready"))
        return _json(replies.json_bytes({"status": "ready"}))

    async def prometheus(self, _: Request) -> Response:
        """`GET /metrics`."""
        return Response(self.metrics.text(), media_type=self.metrics.content_type)

    async def _complete(self, request: Request, completion: Completion) -> Response:
        answer = await prepare(self._backends, completion)
        envelope = Envelope(
            uuid.uuid4().hex, int(time.time()), completion.model, chat=completion.chat
        )
        if completion.stream:
            events = self._events(answer, completion, envelope)
            first = await _unless_gone(request, anext(events))
            return _json(None) if first is None else EventStream(_after(first, events))

        async def work() -> bytes:
            async with aclosing(self._pieces(answer, completion.model)) as pieces:
                async for _ in pieces:
                    pass
            body = envelope.whole(answer.text, answer.finish_reason, answer.usage)
            return replies.json_bytes(body)

        return _json(await _unless_gone(request, work()))

    async def _events(
        self, answer: Answer, completion: Completion, envelope: Envelope
    ) -> AsyncGenerator[bytes]:
        """Yield server-sent events; a failure after the first becomes the last one."""
        started = False
        try:
            async with aclosing(self._pieces(answer, completion.model)) as pieces:
                async for piece in pieces:
                    if not started:
                        started = True
                        yield b"".join(map(replies.sse, envelope.opening()))
                    yield replies.sse(envelope.piece(piece))
        except SaxflowError as error:
            if not started:
                raise
            _LOG.warning("stream of %s broke off: %s", completion.model, error)
            yield replies.sse(failure_of(error).body())
            return
        if not started:
            yield b"".join(map(replies.sse, envelope.opening()))
        closing = envelope.closing(
            answer.finish_reason, answer.usage, include_usage=completion.include_usage
        )
        yield b"".join([*map(replies.sse, closing), replies.STREAM_END])

    async def _pieces(self, answer: Answer, model: str) -> AsyncGenerator[str]:
        """Yield an answer's text while holding a place at work, and take its figures."""
        async with self._turn() as seconds:
            started = time.monotonic()
            first = True
            async with aclosing(answer.pieces(seconds)) as pieces:
                async for piece in pieces:
                    if first:
                        first = False
                        self.metrics.first_text(time.monotonic() - started)
                    yield piece
        self._readiness.prove(model)
        self.metrics.used(answer.usage)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[float]:
        """Wait for a place at work; yield the seconds that remain for the request.

        Raises:
            BusyError: the queue is full.
            DeadlineError: the request's time was over before its turn came.
        """
        limit = self._settings.request_seconds
        started = time.monotonic()
        slot = self._admission.slot()
        try:
            async with asyncio.timeout(limit):
                await slot.__aenter__()
        except TimeoutError:
            raise DeadlineError(f"no turn within {limit:g} s: too many requests wait") from None
        try:
            yield max(0.001, limit - (time.monotonic() - started))
        finally:
            await slot.__aexit__(None, None, None)


def exception_handlers() -> dict[Any, Any]:
    """Return what turns exceptions into answers."""
    return {
        SaxflowError: on_refusal,
        HTTPException: _on_http,
        ClientDisconnect: _on_gone,
        Exception: _on_bug,
    }


async def on_refusal(request: Request, error: SaxflowError) -> Response:
    """Answer an exception of ours."""
    failure = failure_of(error)
    if failure.status >= 500:
        _LOG.warning("%s answers %d: %s", request.url.path, failure.status, failure.message)
    if request.url.path != "/generate":
        return _refuse(failure)
    return _refuse(failure, more={"detail": failure.message})


async def _on_http(request: Request, error: HTTPException) -> Response:
    allowed = (error.headers or {}).get("Allow")
    remedy = f"use {allowed}" if allowed else f"try {SOME_ROUTES}"
    message = f"{request.method} {request.url.path} is not served; {remedy}"
    failure = Failure(error.status_code, "invalid_request_error", message, code="unknown_route")
    return _refuse(failure, error.headers)


async def _on_gone(_: Request, __: ClientDisconnect) -> Response:
    return _json(None)


async def _on_bug(_: Request, error: Exception) -> Response:
    _LOG.error("a request failed", exc_info=error)
    return _refuse(internal())


async def _administration(request: Request) -> Response:
    raise RequestError(
        f"{request.method} {request.url.path} is not served: administration is not reachable over"
        " HTTP; use `saxflow sax ls|publish|update|unpublish` with --sax-root",
        code="unknown_route",
        status=404,
    )


async def _body(request: Request) -> bytes:
    """Return the body.

    Raises:
        RequestError: it is too large.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            raise RequestError(
                f"the body exceeds {MAX_BODY_BYTES} bytes", code="body_too_large", status=413
            )
    return bytes(data)


async def _unless_gone(request: Request, work: Awaitable[Result]) -> Result | None:
    """Return the work's result, None when the client left first and the work was cancelled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for pending in (task, gone):
            pending.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    message = await request.receive()
    while message["type"] != "http.disconnect":
        message = await request.receive()


async def _after(first: bytes, events: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


def _json(body: bytes | None) -> Response:
    """Return a JSON answer; without a body, what a client that left will not read."""
    if body is None:
        return Response(status_code=CLIENT_GONE)
    return Response(body, media_type="application/json")


def _refuse(
    failure: Failure,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> Response:
    """Return a refusal; `more` is where clients of the tutorial's server look for the text."""
    return Response(
        replies.json_bytes({**failure.body(), **(more or {})}),
        status_code=failure.status,
        headers={**(headers or {}), **failure.headers},
        media_type="application/json",
    )
