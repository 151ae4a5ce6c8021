"""One loaded model: text in, text out.

Source: google/saxml v1.1.0 `server/pax/lm/servable_lm_model.py`, `server/services/lm_service.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from saxflow.cell import extras
from saxflow.cell.engine import Engine, Generation, Piece, Sampling
from saxflow.cell.refusals import refusal
from saxflow.cell.tokenizer import StreamText, prompt_ids, scored_ids
from saxflow.errors import InputError
from saxflow.sax import messages as m
from saxflow.sax.servable import Servable
from saxflow.sax.tokenizer import Tokenizer


@dataclass(frozen=True)
class Served:
    """A model that answers; every method runs on the server's event loop."""

    servable: Servable
    tokenizer: Tokenizer
    engine: Engine

    async def generate(self, request: m.GenerateRequest) -> m.GenerateResponse:
        """Answer Generate.

        Raises:
            SaxError: INVALID_ARGUMENT, RESOURCE_EXHAUSTED, or NOT_FOUND after an unload.
        """
        tokens: list[int] = []
        score = 0.0
        async for piece in self._pieces(request):
            tokens.extend(piece.tokens)
            score += sum(piece.logprobs)
        text = self.tokenizer.decode(tokens)
        return m.GenerateResponse(texts=[m.DecodedText(text=text, score=score)])

    async def generate_stream(
        self, request: m.GenerateRequest
    ) -> AsyncGenerator[m.GenerateStreamResponse]:
        """Answer GenerateStream: whole characters, the score of all tokens so far; raises as
        `generate`.
        """
        text = StreamText(self.tokenizer)
        length, score = 0, 0.0
        async for piece in self._pieces(request):
            new = text.add(piece.tokens, final=piece.final)
            score += sum(piece.logprobs)
            item = m.GenerateStreamItem(text=new, prefix_len=length, scores=[score])
            length += len(new)
            yield m.GenerateStreamResponse(items=[item])

    async def score(self, request: m.ScoreRequest) -> m.ScoreResponse:
        """Answer Score: the log-probability of the suffix, without EOS; raises as `generate`."""
        extras.check(request.extra_inputs, {})
        if len(request.suffix) > 1:
            raise refusal("Only one suffix score is supported in lm.score", "INVALID_ARGUMENT")
        suffix = request.suffix[0] if request.suffix else ""
        try:
            ids, counted = scored_ids(
                self.tokenizer, request.prefix, suffix, self.servable.input_len
            )
        except InputError as error:
            raise refusal(str(error), "INVALID_ARGUMENT") from error
        logprobs = await asyncio.wrap_future(self.engine.score(ids))
        return m.ScoreResponse(logp=[float(sum(logprobs[len(logprobs) - counted :]))])

    async def _pieces(self, request: m.GenerateRequest) -> AsyncGenerator[Piece]:
        sampling = extras.sampling_of(request.extra_inputs, self.servable.max_new_tokens)
        generation, pieces = self._submit(request.text, sampling)
        try:
            while True:
                piece = await pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.final:
                    return
        finally:
            generation.cancelled.set()

    def _submit(
        self, text: str, sampling: Sampling
    ) -> tuple[Generation, asyncio.Queue[Piece | Exception]]:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()

        def deliver(piece: Piece | Exception) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        try:
            ids = prompt_ids(self.tokenizer, text, self.servable.input_len)
        except InputError as error:
            raise refusal(str(error), "INVALID_ARGUMENT") from error
        generation = Generation(ids, sampling, deliver)
        self.engine.submit(generation)
        return generation, pieces
