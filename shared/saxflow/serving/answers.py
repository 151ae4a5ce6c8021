"""One completion from start to end: limits, text in certain pieces, why it ended, tokens counted.

SAX tells neither token counts nor why a text ended. Both are derived with the model's own
tokenizer: the text is encoded again, which can differ by a few tokens from what was sampled, and
`length` means that the text has at least as many tokens as were asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from saxflow.errors import InputError, RequestError
from saxflow.sax.tokenizer import Tokenizer
from saxflow.serving.backends import Backends, Question
from saxflow.serving.deployments import Target
from saxflow.serving.emitter import Emitter
from saxflow.serving.replies import Usage
from saxflow.serving.requests import Completion


class Answer:
    """An answer in progress; `finish_reason` and `usage` are known once `pieces` has ended.

    Args:
        prompt_tokens: BOS included; None when nothing can be counted.
        max_tokens: tokens asked for, as far as the deployment goes.
    """

    def __init__(
        self,
        backends: Backends,
        completion: Completion,
        tokenizer: Tokenizer | None,
        *,
        prompt_tokens: int | None,
        max_tokens: int,
    ) -> None:
        self._backends = backends
        self._completion = completion
        self._tokenizer = tokenizer
        self._prompt_tokens = prompt_tokens
        self._max_tokens = max_tokens
        self._emitter = Emitter(completion.stops)

    @property
    def text(self) -> str:
        """What was given out so far."""
        return self._emitter.text

    async def pieces(self, seconds: float) -> AsyncGenerator[str]:
        """Yield the text in pieces, none of them empty; leaving early cancels the generation."""
        wanted = self._completion
        question = Question(
            wanted.model,
            wanted.prompt,
            {**wanted.options, "per_example_max_decode_steps": float(self._max_tokens)},
            seconds,
            stream=wanted.stream or bool(wanted.stops),
        )
        text = ""
        async with aclosing(self._backends.ask(question)) as growing:
            async for samples in growing:
                text = samples[0].text if samples else ""
                piece = self._emitter.feed(text)
                if piece:
                    yield piece
                if self._emitter.stopped:
                    return
        piece = self._emitter.finish(text)
        if piece:
            yield piece

    @property
    def finish_reason(self) -> str:
        """OpenAI's `stop` or `length`."""
        if self._emitter.stopped:
            return "stop"
        counted = self._count(self.text)
        return "length" if counted is not None and counted >= self._max_tokens else "stop"

    @property
    def usage(self) -> Usage | None:
        """Token counts, None when they cannot be had."""
        counted = self._count(self.text)
        if self._prompt_tokens is None or counted is None:
            return None
        return Usage(self._prompt_tokens, min(counted, self._max_tokens))

    def _count(self, text: str) -> int | None:
        if self._tokenizer is None:
            return None
        try:
            return len(self._tokenizer.encode(text))
        except InputError:
            return None  # a stop sequence has cut a token in two


async def prepare(backends: Backends, completion: Completion) -> Answer:
    """Check a completion against what its model can do.

    Raises:
        NotFoundError, TransientError, RequestError: as `Backends.find`, or the prompt is too long.
    """
    target = await backends.find(completion.model)
    tokenizer = await backends.tokenizer(target)
    limit = target.servable.max_new_tokens
    wanted = min(completion.max_tokens or limit, limit)
    param = "messages" if completion.chat else "prompt"
    tokens = await check_prompt(target, tokenizer, completion.prompt, param)
    return Answer(backends, completion, tokenizer, prompt_tokens=tokens, max_tokens=wanted)


async def check_prompt(
    target: Target, tokenizer: Tokenizer | None, prompt: str, param: str
) -> int | None:
    """Return a prompt's tokens, BOS included; SAX would cut a longer one without a word.

    Raises:
        RequestError: it is too long, or no text of this model.
    """
    if tokenizer is None:
        return None
    try:
        tokens = 1 + len(await asyncio.to_thread(tokenizer.encode, prompt))
    except InputError as error:
        raise RequestError(f"{param}: {error}", param=param) from error
    if tokens > target.servable.input_len:
        raise RequestError(
            f"the prompt has {tokens} tokens, BOS included; {target.deployment} takes at most"
            f" {target.servable.input_len}",
            param=param,
            code="context_length_exceeded",
        )
    return tokens
