"""Admin and model server in one, and a cell that is asked through it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc

from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.aio import AsyncCell
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.values import Model

LLAMA = "/sax/test/llama"
MODEL = Model(LLAMA, "a.Llama", "gs://b/checkpoint_00000000")
NOT_FOUND = "model {test llama} not found: rpc error: code = NotFound desc = NotFound"


@dataclass
class Server:
    """A gRPC server of SAX's methods.

    Args:
        answers: method -> replies or (code, words), call by call; the last one is repeated.
        received: (method, request) in order of arrival.
    """

    answers: dict[Any, list[Any]] = field(default_factory=dict)
    received: list[tuple[Any, Any]] = field(default_factory=list)
    address: str = ""
    stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(16))
        behaviors = {method: self._behavior(method) for method in methods.ALL}
        server.add_generic_rpc_handlers(generic_handlers(behaviors))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self.stop = lambda: server.stop(0).wait() and None

    def asked(self, method: Any) -> list[Any]:
        return [request for received, request in self.received if received is method]

    def _behavior(self, method: Any) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: Any) -> Any:
            self.received.append((method, request))
            told = self.answers.get(method, [("UNIMPLEMENTED", "not told")])
            reply = told.pop(0) if len(told) > 1 else told[0]
            if isinstance(reply, tuple):
                context.abort(grpc.StatusCode[reply[0]], reply[1])
            if reply is None:
                gone = threading.Event()
                if context.add_callback(gone.set):
                    gone.wait()
                reply = method.reply()
            return reply

        def stream(request: Any, context: Any) -> Any:
            yield from answer(request, context)

        return stream if method.streams else answer


def watched(*addresses: str) -> m.WatchLocResponse:
    changes = [m.WatchResult.Mutation(addition=address) for address in addresses]
    return m.WatchLocResponse(
        admin_server_id="a", result=m.WatchResult(next_seqno=1, changelog=changes)
    )


def run(root: str, use: Callable[[AsyncCell], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with AsyncCell.open(root, "/sax/test") as cell:
            return await use(cell)

    return asyncio.run(scenario())


async def collected(stream: Any) -> list[Any]:
    return [samples async for samples in stream]
