"""Dialling, calling and streaming, against gRPC servers on the loopback."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest

from saxflow.errors import DeadlineError, ProtocolError, SaxError
from saxflow.sax import channels as channels_module
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.channels import Channels, unreachable
from saxflow.sax.failures import ADMIN_RETRIES, NO_RETRIES, SERVER_RETRIES
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.pace import Pace

Use = Callable[[Channels], Awaitable[Any]]


def run(use: Use) -> Any:
    """Run a scenario on channels that are closed at its end."""

    async def scenario() -> Any:
        channels = Channels()
        try:
            return await use(channels)
        finally:
            await channels.close()

    return asyncio.run(scenario())


def pace(seconds: float | None = 10.0) -> Pace:
    return Pace("List in /sax/test", deadline_seconds=seconds)


@pytest.fixture
def serve() -> Generator[Callable[..., str]]:
    """Serve behaviours by method; return the address."""
    servers: list[grpc.Server] = []

    def start(behaviors: Any = None, *, raw: Any = None, address: str = "127.0.0.1:0") -> str:
        handlers = [raw] if raw else generic_handlers(behaviors)
        options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))
        server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
        server.add_generic_rpc_handlers(handlers)
        port = server.add_insecure_port(address)
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


class Bytes(grpc.GenericRpcHandler):
    """Answers every method with the same bytes."""

    def __init__(self, *replies: bytes) -> None:
        self._replies = replies

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(self._replies))


def refuse(code: str, details: str = "its words") -> Callable[[Any, Any], Any]:
    def behavior(_request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode[code], details)

    return behavior


def never(_request: Any, context: Any) -> m.ListResponse:
    """Answer only when the caller has gone."""
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait()
    return m.ListResponse()


def ask(
    address: str, *, seconds: float | None = 10.0, retried: frozenset[str] = ADMIN_RETRIES
) -> Use:
    return lambda channels: channels.call(
        methods.LIST,
        address,
        m.ListRequest(model_id="/sax/test/été"),
        pace=pace(seconds),
        retried=retried,
    )


def ask_stream(
    address: str, *, seconds: float | None = 10.0, retried: frozenset[str] = SERVER_RETRIES
) -> Use:
    async def use(channels: Channels) -> list[str]:
        replies = channels.stream(
            methods.GENERATE_STREAM,
            address,
            m.GenerateRequest(text="Hi"),
            pace=pace(seconds),
            retried=retried,
        )
        return [reply.items[0].text async for reply in replies]

    return use


def say(*texts: str, then: Callable[[Any, Any], Any] | None = None) -> Any:
    def behavior(request: Any, context: Any) -> Iterator[m.GenerateStreamResponse]:
        for text in texts:
            yield m.GenerateStreamResponse(items=[m.GenerateStreamItem(text=text)])
        if then:
            then(request, context)

    return behavior


def echo(request: m.ListRequest, _context: Any) -> m.ListResponse:
    return m.ListResponse(
        published_models=[m.PublishedModel(model=m.Model(model_id=request.model_id))]
    )


def test_a_call_sends_the_request_and_returns_the_reply(serve: Any) -> None:
    reply = run(ask(serve({methods.LIST: echo})))
    assert reply.published_models[0].model.model_id == "/sax/test/été"


@pytest.mark.parametrize("seconds", [None, 30.0, 1e10, 1e300, math.inf])
def test_a_deadline_far_away_is_none(serve: Any, seconds: float | None) -> None:
    assert run(ask(serve({methods.LIST: echo}), seconds=seconds)).published_models
    streamed = ask_stream(serve({methods.GENERATE_STREAM: say("a")}), seconds=seconds)
    assert run(streamed) == ["a"]


def test_messages_of_any_size_pass_both_ways(serve: Any) -> None:
    text = "x" * (6 << 20)
    address = serve({methods.LIST: echo})

    async def use(channels: Channels) -> m.ListResponse:
        request = m.ListRequest(model_id=text)
        return await channels.call(methods.LIST, address, request, pace=pace(), retried=NO_RETRIES)

    assert run(use).published_models[0].model.model_id == text


def test_a_proxy_of_the_environment_is_not_for_a_cell(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert run(ask(serve({methods.LIST: echo}))).published_models


@pytest.mark.parametrize(
    ("code", "exit_code", "retryable"),
    [
        ("UNAVAILABLE", 6, True),
        ("RESOURCE_EXHAUSTED", 6, True),
        ("NOT_FOUND", 4, False),
        ("INVALID_ARGUMENT", 3, False),
        ("DEADLINE_EXCEEDED", 5, False),
        ("INTERNAL", 1, False),
    ],
)
@pytest.mark.parametrize("method", [methods.LIST, methods.GENERATE_STREAM])
def test_refusals(serve: Any, method: Any, code: str, exit_code: int, retryable: bool) -> None:
    address = serve({method: refuse(code)})
    asked = ask if method is methods.LIST else ask_stream
    with pytest.raises(SaxError) as caught:
        run(asked(address, retried=ADMIN_RETRIES))
    assert str(caught.value) == f"{method.name} at {address}: its words"
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert caught.value.retryable == retryable


def test_a_refusal_without_words_says_its_code(serve: Any) -> None:
    address = serve({methods.LIST: refuse("PERMISSION_DENIED", "")})
    with pytest.raises(SaxError, match=r"List at 127\.0\.0\.1:\d+: permission_denied$"):
        run(ask(address))


def test_a_server_without_the_method(serve: Any) -> None:
    with pytest.raises(SaxError) as caught:
        run(ask(serve({methods.STATS: echo})))
    assert caught.value.code == "UNIMPLEMENTED"


@pytest.mark.parametrize("asked", [ask, ask_stream])
def test_our_deadline_is_told_as_ours(serve: Any, asked: Any) -> None:
    address = serve({methods.LIST: never, methods.GENERATE_STREAM: say(then=never)})
    with pytest.raises(DeadlineError) as caught:
        run(asked(address, seconds=0.2))
    assert str(caught.value) == "List in /sax/test: no answer within 0.2 s"
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_deadline_that_has_passed(serve: Any, seconds: float) -> None:
    with pytest.raises(DeadlineError):
        run(ask(serve({methods.LIST: never}), seconds=seconds))


@pytest.mark.parametrize(
    ("reply", "asked", "said"),
    [
        (b"\xff\xff", ask, "List at {address} answered what is no sax.ListResponse"),
        (
            b"\x0a\x03\x0a\x01\xff",
            ask_stream,
            "GenerateStream at {address} answered what is no sax.server.lm.GenerateStreamResponse",
        ),
        (
            b"\x0a",
            ask_stream,
            "GenerateStream at {address} answered what is no sax.server.lm.GenerateStreamResponse",
        ),
    ],
)
def test_a_reply_that_is_no_message_is_the_peers_fault(
    serve: Any, reply: bytes, asked: Any, said: str
) -> None:
    address = serve(raw=Bytes(reply))
    with pytest.raises(ProtocolError) as caught:
        run(asked(address))
    assert str(caught.value) == f"{said.format(address=address)}; is a SAX server there?"


def test_a_stream_of_nothing(serve: Any) -> None:
    assert run(ask_stream(serve({methods.GENERATE_STREAM: say()}))) == []


def test_after_the_first_reply_nothing_is_worth_repeating(serve: Any) -> None:
    address = serve({methods.GENERATE_STREAM: say("a", then=refuse("UNAVAILABLE"))})

    async def use(channels: Channels) -> None:
        replies = channels.stream(
            methods.GENERATE_STREAM,
            address,
            m.GenerateRequest(),
            pace=pace(),
            retried=SERVER_RETRIES,
        )
        assert (await anext(replies)).items[0].text == "a"
        with pytest.raises(SaxError) as caught:
            await anext(replies)
        assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", False)

    run(use)


def test_a_stream_that_is_left_early_is_cancelled_at_the_server(serve: Any) -> None:
    left = threading.Event()

    def behavior(_request: Any, context: Any) -> Iterator[m.GenerateStreamResponse]:
        context.add_callback(left.set)
        yield m.GenerateStreamResponse()
        left.wait(30)

    address = serve({methods.GENERATE_STREAM: behavior})

    async def use(channels: Channels) -> None:
        replies = channels.stream(
            methods.GENERATE_STREAM, address, m.GenerateRequest(), pace=pace(), retried=NO_RETRIES
        )
        await anext(replies)
        await replies.aclose()
        assert await asyncio.to_thread(left.wait, 10)

    run(use)


def test_many_calls_at_once_share_a_connection(serve: Any) -> None:
    peers: set[str] = set()

    def behavior(_request: Any, context: Any) -> m.ListResponse:
        peers.add(context.peer())
        return m.ListResponse()

    address = serve({methods.LIST: behavior})

    async def use(channels: Channels) -> None:
        await asyncio.gather(*(ask(address)(channels) for _ in range(20)))

    run(use)
    assert len(peers) == 1


@pytest.mark.parametrize("asked", [ask, ask_stream])
def test_closing_ends_calls_in_flight(serve: Any, asked: Any) -> None:
    arrived = threading.Event()

    def behavior(request: Any, context: Any) -> Any:
        arrived.set()
        never(request, context)

    address = serve({methods.LIST: behavior, methods.GENERATE_STREAM: say(then=behavior)})

    async def use(channels: Channels) -> None:
        call = asyncio.ensure_future(asked(address, seconds=None)(channels))
        assert await asyncio.to_thread(arrived.wait, 10)
        await channels.close()
        with pytest.raises(asyncio.CancelledError):
            await call

    run(use)


def test_closing_twice_or_before_anything_is_no_error() -> None:
    async def use(channels: Channels) -> None:
        await channels.close()
        await channels.close()

    run(use)


@pytest.fixture
def mute() -> Generator[str]:
    """An address that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_server_is_reachable(serve: Any) -> None:
    address = serve({methods.LIST: echo})

    async def use(channels: Channels) -> None:
        assert await channels.reachable(address)
        assert await channels.reachable(address)

    run(use)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "weird://x:1", "a b:1", "\n:1", "unix:/no:1"])
def test_what_is_no_address_is_not_reachable(address: str) -> None:
    assert run(lambda channels: channels.reachable(address)) is False


def test_a_refused_connection_is_told_at_once(dead_address: str) -> None:
    started = time.monotonic()
    assert run(lambda channels: channels.reachable(dead_address)) is False
    assert time.monotonic() - started < channels_module.DIAL_SECONDS


def test_silence_is_borne_for_so_long(mute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels_module, "DIAL_SECONDS", 0.2)
    started = time.monotonic()
    assert run(lambda channels: channels.reachable(mute)) is False
    assert 0.2 <= time.monotonic() - started < 2


def test_a_dial_ends_when_the_channels_are_closed(mute: str) -> None:
    async def use(channels: Channels) -> None:
        dial = asyncio.ensure_future(channels.reachable(mute))
        await asyncio.sleep(0)
        await channels.close()
        assert await dial is False

    run(use)


def test_a_server_that_comes_back_is_found_without_waiting(serve: Any) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"

        async def use(channels: Channels) -> None:
            for _ in range(3):
                found = await asyncio.gather(*(channels.reachable(address) for _ in range(4)))
                assert found == [False] * 4
            held.close()
            serve({methods.LIST: echo}, address=address)
            started = time.monotonic()
            assert await channels.reachable(address)
            assert time.monotonic() - started < 0.1
            assert (await ask(address)(channels)).published_models

        run(use)


def test_unreachable_names_call_and_address() -> None:
    error = unreachable("h:1", "Generate of /sax/test/m", retryable=True)
    assert str(error) == "Generate of /sax/test/m: nobody answers at h:1"
    assert (error.code, error.exit_code, error.retryable) == ("UNAVAILABLE", 6, True)
    assert not unreachable("h:1", "List", retryable=False).retryable
