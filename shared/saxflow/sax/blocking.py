"""The same clients without asyncio: each method waits for its namesake in `aio`.

    with Cell.open("gs://cells/llama/sax-root", "/sax/test") as cell:
        print(cell.list())
        print(cell.model("/sax/test/llama27b").generate("Hello", {"temperature": 0.0}))

The event loop runs in a thread of its own, from `open` to `close`, so a `Cell` may be used from any
thread and while another loop runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, TypeVar

from saxflow.sax import messages as m
from saxflow.sax.aio import ADMIN_SECONDS, AsyncCell, AsyncModel, AsyncModelet
from saxflow.sax.values import (
    ExtraInputs,
    Generated,
    Model,
    ModelStatus,
    PublishedModel,
    ServerStat,
)

Result = TypeVar("Result")


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="saxflow-sax", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there and return its result; an interrupt here cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


class Cell:
    """One SAX cell; see `AsyncCell` for arguments and errors."""

    def __init__(self, cell: AsyncCell, loop: LoopThread) -> None:
        self._cell = cell
        self._loop = loop

    @classmethod
    def open(cls, sax_root: str, cell: str) -> Cell:
        """Return a cell's client; nothing is dialled yet."""
        opened = AsyncCell.open(sax_root, cell)
        return cls(opened, LoopThread())

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all channels and end the thread."""
        self._loop.run(self._cell.close())
        self._loop.stop()

    def model(self, model_id: str) -> LanguageModel:
        """Return a published model's client."""
        return LanguageModel(self._cell.model(model_id), self._loop)

    def modelet(self, address: str) -> Modelet:
        """Return the client of one model server's control service."""
        return Modelet(self._cell.modelet(address), self._loop)

    def publish(self, model: Model, *, deadline_seconds: float = ADMIN_SECONDS) -> None:
        """Ask the admin to have a model loaded."""
        self._loop.run(self._cell.publish(model, deadline_seconds=deadline_seconds))

    def update(self, model: Model, *, deadline_seconds: float = ADMIN_SECONDS) -> None:
        """Change a published model's replicas or overrides."""
        self._loop.run(self._cell.update(model, deadline_seconds=deadline_seconds))

    def unpublish(self, model_id: str, *, deadline_seconds: float = ADMIN_SECONDS) -> None:
        """Have a model unloaded and forgotten."""
        self._loop.run(self._cell.unpublish(model_id, deadline_seconds=deadline_seconds))

    def list(
        self, model_id: str = "", *, deadline_seconds: float = ADMIN_SECONDS
    ) -> tuple[PublishedModel, ...]:
        """Return one published model, or all of the cell."""
        return self._loop.run(self._cell.list(model_id, deadline_seconds=deadline_seconds))

    def stats(
        self, model_id: str = "", *, deadline_seconds: float = ADMIN_SECONDS
    ) -> tuple[ServerStat, ...]:
        """Return how many servers of each kind have joined, or serve one model."""
        return self._loop.run(self._cell.stats(model_id, deadline_seconds=deadline_seconds))

    def wait_for_ready(self, model_id: str, replicas: int = 1, *, deadline_seconds: float) -> None:
        """Return when that many servers have loaded the model."""
        self._loop.run(
            self._cell.wait_for_ready(model_id, replicas, deadline_seconds=deadline_seconds)
        )

    def watch_loc(
        self, request: m.WatchLocRequest, *, deadline_seconds: float
    ) -> m.WatchLocResponse:
        """Return what happened to a model's addresses since."""
        return self._loop.run(self._cell.watch_loc(request, deadline_seconds=deadline_seconds))

    def join(
        self,
        address: str,
        server: m.ModelServer,
        *,
        debug_address: str = "",
        deadline_seconds: float = ADMIN_SECONDS,
    ) -> None:
        """Offer a model server to the cell."""
        self._loop.run(
            self._cell.join(
                address, server, debug_address=debug_address, deadline_seconds=deadline_seconds
            )
        )


class LanguageModel:
    """A published language model; see `AsyncModel` for arguments and errors."""

    def __init__(self, model: AsyncModel, loop: LoopThread) -> None:
        self.name = model.name
        self._model = model
        self._loop = loop

    def generate(
        self,
        text: str,
        options: ExtraInputs | None = None,
        *,
        deadline_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> tuple[Generated, ...]:
        """Return the samples for a prompt, best first."""
        return self._loop.run(
            self._model.generate(
                text,
                options,
                deadline_seconds=deadline_seconds,
                patience_seconds=patience_seconds,
            )
        )

    def score(
        self,
        prefix: str,
        suffixes: Sequence[str],
        options: ExtraInputs | None = None,
        *,
        deadline_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> tuple[float, ...]:
        """Return the log-probability of each suffix after the prefix."""
        return self._loop.run(
            self._model.score(
                prefix,
                suffixes,
                options,
                deadline_seconds=deadline_seconds,
                patience_seconds=patience_seconds,
            )
        )

    def generate_stream(
        self,
        text: str,
        options: ExtraInputs | None = None,
        *,
        deadline_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> Generator[tuple[Generated, ...]]:
        """Yield all samples as they grow; ending the iteration early cancels the call."""
        stream = self._model.generate_stream(
            text, options, deadline_seconds=deadline_seconds, patience_seconds=patience_seconds
        )
        try:
            while True:
                try:
                    samples = self._loop.run(anext(stream))
                except StopAsyncIteration:
                    return
                yield samples
        finally:
            self._loop.run(stream.aclose())


class Modelet:
    """The control service of one model server; see `AsyncModelet`."""

    def __init__(self, modelet: AsyncModelet, loop: LoopThread) -> None:
        self.address = modelet.address
        self._modelet = modelet
        self._loop = loop

    def load(self, model: Model, *, deadline_seconds: float | None = None) -> None:
        """Have the server load a model."""
        self._loop.run(self._modelet.load(model, deadline_seconds=deadline_seconds))

    def update_loaded(
        self, model_id: str, *, deadline_seconds: float | None = ADMIN_SECONDS
    ) -> None:
        """Tell the server that a loaded model's access lists are empty."""
        self._loop.run(self._modelet.update_loaded(model_id, deadline_seconds=deadline_seconds))

    def unload(self, model_id: str, *, deadline_seconds: float | None = None) -> None:
        """Have the server forget a model."""
        self._loop.run(self._modelet.unload(model_id, deadline_seconds=deadline_seconds))

    def get_status(
        self,
        *,
        include_failure_reasons: bool = True,
        deadline_seconds: float | None = ADMIN_SECONDS,
    ) -> tuple[ModelStatus, ...]:
        """Return the state of every model the server holds or failed to load."""
        return self._loop.run(
            self._modelet.get_status(
                include_failure_reasons=include_failure_reasons, deadline_seconds=deadline_seconds
            )
        )
