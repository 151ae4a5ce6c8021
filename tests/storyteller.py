"""A SAX cell of one process that tells what it is told to, from our method table."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc

from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.handlers import generic_handlers

WORDS = ("été ", "日本語", "😀", "naïve ", "plain ", "\n", "Ω≈ç", "👩‍👩‍👧 ", '"quoted" ', "data: ")


def story(prompt: str, length: int) -> list[str]:
    """Return what the storyteller says: pieces that depend on the prompt alone."""
    source = random.Random(prompt)
    return [f"{source.choice(WORDS)}{source.randrange(1000)} " for _ in range(length)]


@dataclass
class Storyteller:
    """A cell in one gRPC server: admin's WatchLoc and the language model service.

    Args:
        models: what it has; None has any.
        pieces: what it says, whatever it is asked; None tells a story.
        refusals: statuses to answer, call by call, before stories are told.
        breaks_after: pieces after which a stream breaks off with INTERNAL.
        gate: stories go on after `holds_after` pieces only while it is set.
        left: set when a streaming call has ended.
        asked: every request to the model.
    """

    models: set[str] | None = field(default_factory=lambda: {"/sax/test/story"})
    pieces: list[str] | None = None
    refusals: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    breaks_after: int | None = None
    holds_after: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    asked: list[m.GenerateRequest] = field(default_factory=list)
    address: str = ""

    def start(self, address: str = "127.0.0.1:0") -> Callable[[], None]:
        """Serve; return what stops it."""
        self.gate.set()
        server = grpc.server(futures.ThreadPoolExecutor(160), options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers(
            generic_handlers(
                {
                    methods.WATCH_LOC: self.watch_loc,
                    methods.GENERATE: self.generate,
                    methods.GENERATE_STREAM: self.generate_stream,
                }
            )
        )
        port = server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        server.start()
        return lambda: self.gate.set() or (server.stop(0).wait() and None)

    def watch_loc(self, request: m.WatchLocRequest, context: Any) -> m.WatchLocResponse:
        if self.models is not None and request.model_id not in self.models:
            context.abort(grpc.StatusCode.UNKNOWN, _not_found(request.model_id))
        if request.seqno:
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait()
        change = m.WatchResult.Mutation(addition=self.address)
        return m.WatchLocResponse(
            admin_server_id="a", result=m.WatchResult(next_seqno=1, changelog=[change])
        )

    def generate(self, request: m.GenerateRequest, context: Any) -> m.GenerateResponse:
        text = "".join(self._said(request, context))
        return m.GenerateResponse(texts=[m.DecodedText(text=text, score=-1.25)])

    def generate_stream(
        self, request: m.GenerateRequest, context: Any
    ) -> Iterator[m.GenerateStreamResponse]:
        context.add_callback(self.left.set)
        length = 0
        for count, piece in enumerate(self._said(request, context)):
            if count == self.breaks_after:
                context.abort(grpc.StatusCode.INTERNAL, "the server fell over")
            item = m.GenerateStreamItem(text=piece, prefix_len=length, scores=[-1.25])
            length += len(piece)
            yield m.GenerateStreamResponse(items=[item])

    def _said(self, request: m.GenerateRequest, context: Any) -> Iterator[str]:
        self.asked.append(request)
        if self.refusals:
            context.abort(*self.refusals.pop(0))
        steps = int(request.extra_inputs.items.get("per_example_max_decode_steps", 10))
        pieces = story(request.text, steps) if self.pieces is None else self.pieces
        for count, piece in enumerate(pieces):
            if count >= self.holds_after:
                self.gate.wait()
            if not context.is_active():
                return
            yield piece


def _not_found(model: str) -> str:
    return f"model {model} not found: rpc error: code = NotFound desc = NotFound"
