"""Open cells, and ask the model behind a name; a deployment that moved is found again.

An upgrade puts a deployment's model into another cell. So when a cell turns out to be gone, the
head is read once more, and the request repeated there if it points elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from saxflow.errors import CloudError, ConfigurationError, InputError, NotFoundError, SaxError
from saxflow.sax.aio import AsyncCell, AsyncModel
from saxflow.sax.tokenizer import Tokenizer, load_tokenizer
from saxflow.sax.values import Generated
from saxflow.serving.deployments import Deployments, Target

P = ParamSpec("P")
Result = TypeVar("Result")

LOOK_SECONDS = 10.0
"""Longest wait for Cloud Storage; Google's client alone would go on for two minutes."""

UNREAD_SECONDS = 30.0
"""How long a vocabulary that Cloud Storage did not give is not asked for again."""

_LOG = logging.getLogger(__name__)
_GONE = frozenset({"NOT_FOUND", "UNAVAILABLE"})


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Args:
        name: the client's name for the model.
        prompt: text as the model server takes it.
        options: extra inputs.
        seconds: time for the answer.
        stream: let the text grow where the server can.
    """

    name: str
    prompt: str
    options: Mapping[str, float]
    seconds: float
    stream: bool = False


@dataclass(eq=False)
class _Open:
    """A cell's client and how many questions are with it."""

    cell: AsyncCell
    questions: int = 0


class Backends:
    """Every model a client may name.

    Args:
        deployments: from names to models.
        patience_seconds: how long to try again while servers are gone, busy or loading.
    """

    def __init__(self, deployments: Deployments, *, patience_seconds: float) -> None:
        self._deployments = deployments
        self._patience_seconds = patience_seconds
        self._cells: dict[tuple[str, str], _Open] = {}
        self._tokenizers: dict[str, tuple[Tokenizer | None, float]] = {}
        self._looking = asyncio.Lock()

    async def close(self) -> None:
        """Close all cells."""
        while self._cells:
            _, opened = self._cells.popitem()
            await opened.cell.close()

    async def find(self, name: str) -> Target:
        """Return what serves under a name, or did when the control bucket last answered.

        Raises:
            NotFoundError, TransientError, RequestError: as `Deployments.find`.
            CloudError: the control bucket does not answer, and nothing is known of the name.
        """
        known = self._deployments.known(name)
        if known is not None:
            return known
        async with self._looking:
            try:
                return await _soon(self._deployments.find, name)
            except CloudError as error:
                stale = self._deployments.known(name, stale=True)
                if stale is None:
                    raise
                _LOG.warning("going on with what was known of %s: %s", name, error)
                return stale

    async def all(self) -> list[Target]:
        """Return everything that serves.

        Raises:
            CloudError: the control bucket does not answer.
        """
        return await _soon(self._deployments.all)

    async def tokenizer(self, target: Target) -> Tokenizer | None:
        """Return a model's vocabulary, None while it cannot be read (said in the log)."""
        uri = target.servable.tokenizer
        found, until = self._tokenizers.get(uri, (None, 0.0))
        if time.monotonic() < until:
            return found
        until = math.inf
        try:
            found = await _soon(load_tokenizer, uri, target.servable.vocab)
        except (InputError, NotFoundError, CloudError, ConfigurationError) as error:
            _LOG.warning("tokens of %s cannot be counted: %s", target.deployment, error)
            if isinstance(error, CloudError) and error.retryable:
                until = time.monotonic() + UNREAD_SECONDS
        self._tokenizers[uri] = (found, until)
        return found

    async def ask(self, question: Question) -> AsyncGenerator[tuple[Generated, ...]]:
        """Yield the samples as they grow, at least once; only once when nothing is streamed.

        Raises:
            NotFoundError, TransientError, RequestError: as `find`.
            SaxError: the cell refused or is gone.
            DeadlineError: no answer in time.
        """
        target = await self.find(question.name)
        started = False
        try:
            async with aclosing(self._answers(target, question)) as answers:
                async for samples in answers:
                    started = True
                    yield samples
            return
        except SaxError as error:
            if started or error.code not in _GONE:
                raise
            target = await self._moved(question.name, target, error)
        async with aclosing(self._answers(target, question)) as answers:
            async for samples in answers:
                yield samples

    async def _moved(self, name: str, target: Target, error: SaxError) -> Target:
        """Return where a deployment serves now; the error itself when that has not changed."""
        fresh = await _soon(self._deployments.find, name, fresh=True)
        if (fresh.sax_root, fresh.model) == (target.sax_root, target.model):
            raise error
        return fresh

    async def _answers(
        self, target: Target, question: Question
    ) -> AsyncGenerator[tuple[Generated, ...]]:
        async with self._model(target) as model:
            if not (question.stream and target.servable.stream):
                yield await model.generate(
                    question.prompt,
                    question.options,
                    deadline_seconds=question.seconds,
                    patience_seconds=self._patience_seconds,
                )
                return
            replies = model.generate_stream(
                question.prompt,
                question.options,
                deadline_seconds=question.seconds,
                patience_seconds=self._patience_seconds,
            )
            async with aclosing(replies) as stream:
                async for samples in stream:
                    yield samples

    @asynccontextmanager
    async def _model(self, target: Target) -> AsyncGenerator[AsyncModel]:
        """Hold a model's cell open; cells that nobody names any more are closed after the last."""
        place = (target.sax_root, str(target.model.cell))
        if place not in self._cells:
            self._cells[place] = _Open(AsyncCell.open(*place))
        opened = self._cells[place]
        opened.questions += 1
        try:
            yield opened.cell.model(str(target.model))
        except NotFoundError as error:
            raise SaxError(str(error), code="UNAVAILABLE", retryable=True) from error
        finally:
            opened.questions -= 1
            if opened.questions == 0 and not self._deployments.believes(target):
                self._cells.pop(place, None)
                await opened.cell.close()


async def _soon(look: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Look into Cloud Storage from a thread, for `LOOK_SECONDS` at most."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await asyncio.to_thread(look, *args, **kwargs)
    except TimeoutError:
        raise CloudError(
            f"Cloud Storage does not answer within {LOOK_SECONDS:g} s",
            service="storage",
            retryable=True,
        ) from None
