"""A gRPC peer that knows bytes only: it records what arrives and answers what it was told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest


@dataclass(frozen=True)
class Refusal:
    """A status instead of a reply."""

    code: grpc.StatusCode
    details: str = "as told"


class Wait:
    """No reply before the caller gives up."""


Answer = bytes | Refusal | Wait | list[bytes | Refusal]


@dataclass
class Peer(grpc.GenericRpcHandler):
    """A server of any method.

    Args:
        answers: path -> what to answer, call by call; the last answer is repeated.
        received: (path, request bytes), in order of arrival.
    """

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    received: list[tuple[str, bytes]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    address: str = ""
    stop: Callable[[], None] = lambda: None

    def calls(self, path: str) -> list[bytes]:
        """Return the requests of one method."""
        return [data for received, data in self.received if received == path]

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        path = handler_call_details.method
        if path not in self.answers:
            return None
        return grpc.unary_stream_rpc_method_handler(
            lambda request, context: self._answer(path, request, context)
        )

    def _answer(self, path: str, request: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(self.ended.set)
        self.received.append((path, request))
        told = self.answers[path]
        answer = told.pop(0) if len(told) > 1 else told[0]
        for part in answer if isinstance(answer, list) else [answer]:
            if isinstance(part, Refusal):
                context.abort(part.code, part.details)
            if isinstance(part, Wait):
                gone = threading.Event()
                if context.add_callback(gone.set):
                    gone.wait()
                return
            yield part


@pytest.fixture
def start_peer() -> Generator[Callable[..., Peer]]:
    servers: list[grpc.Server] = []

    def start(address: str = "127.0.0.1:0", **answers: Any) -> Peer:
        peer = Peer(**answers)
        server = grpc.server(
            futures.ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),), handlers=[peer]
        )
        port = server.add_insecure_port(address)
        server.start()
        servers.append(server)
        peer.address = f"127.0.0.1:{port}"
        peer.stop = lambda: server.stop(0).wait() and None
        return peer

    yield start
    for server in servers:
        server.stop(0).wait()


@pytest.fixture
def peer(start_peer: Callable[..., Peer]) -> Peer:
    return start_peer()


@pytest.fixture
def refusal() -> type[Refusal]:
    return Refusal


@pytest.fixture
def wait() -> type[Wait]:
    return Wait
