"""Follow which servers serve a model, in the background, and hand out their addresses in turn."""

from __future__ import annotations

import asyncio
from typing import Protocol

from saxflow.errors import DeadlineError, NotFoundError, SaxError, SaxflowError
from saxflow.sax import messages as m
from saxflow.sax.pace import Pace
from saxflow.sax.watching import Watched

WATCH_SECONDS = 60.0
"""One WatchLoc waits this long; the next goes on from there."""

QUIET_SECONDS = 0.5
"""How long a caller without addresses waits for the admin's word, and the pause after a failure."""


class Watcher(Protocol):
    """Who asks the admin; an `AsyncCell`."""

    async def watch_loc(
        self, request: m.WatchLocRequest, *, deadline_seconds: float
    ) -> m.WatchLocResponse:
        """Return what happened to a model's addresses since."""
        ...


class Addresses:
    """The servers of one model, as the admin tells them.

    The task that follows them starts with the first `pick` and ends when the model turns out not to
    be published; then `pick` raises and `ended` is true.
    """

    def __init__(self, watcher: Watcher, model_id: str) -> None:
        self._watcher = watcher
        self._model_id = model_id
        self._watched = Watched()
        self._turn = 0
        self._trouble: SaxflowError | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether following was given up: there is no such model, or no such cell."""
        return self._trouble is not None and _final(self._trouble)

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def pick(self, pace: Pace) -> str:
        """Return the next address in turn; waits for one while the admin is silent.

        Raises:
            SaxError: code `NOT_FOUND`, final: the model is not published; `UNAVAILABLE`,
                retryable: published, but no server holds it.
            DeadlineError: the pace's deadline passed.
            NotFoundError, ProtocolError, CloudError: the admin cannot be found.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        if not self._watched.addresses:
            await self._wait_for_news(pace)
        if self._watched.addresses:
            self._turn += 1
            return self._watched.addresses[self._turn % len(self._watched.addresses)]
        if self._trouble is not None:
            raise self._trouble
        raise SaxError(
            f"{self._model_id}: published, but no model server serves it now",
            code="UNAVAILABLE",
            retryable=True,
        )

    async def _wait_for_news(self, pace: Pace) -> None:
        """Wait a moment for the admin's next word; silence means that nothing has changed."""
        left = pace.left_seconds
        if left == 0:
            raise pace.expired(self._trouble)
        try:
            async with asyncio.timeout(QUIET_SECONDS if left is None else min(left, QUIET_SECONDS)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _follow(self) -> None:
        while not self.ended:
            try:
                reply = await self._watcher.watch_loc(
                    self._watched.request(self._model_id), deadline_seconds=WATCH_SECONDS
                )
                self._tell(self._watched.after(reply), None)
            except SaxflowError as error:
                if _final(error):
                    self._tell(Watched(), error)
                elif not _quiet(error):
                    self._tell(self._watched, error)
                    await asyncio.sleep(QUIET_SECONDS)

    def _tell(self, watched: Watched, trouble: SaxflowError | None) -> None:
        self._watched, self._trouble = watched, trouble
        self._news.set()
        self._news = asyncio.Event()


def _quiet(error: SaxflowError) -> bool:
    """Return whether a WatchLoc ended only because nothing happened."""
    return isinstance(error, DeadlineError) or (
        isinstance(error, SaxError) and error.code == "DEADLINE_EXCEEDED"
    )


def _final(error: SaxflowError) -> bool:
    """Return whether following further is useless: no such model, no such cell."""
    return isinstance(error, NotFoundError) or (
        isinstance(error, SaxError) and error.code in ("NOT_FOUND", "INVALID_ARGUMENT")
    )
