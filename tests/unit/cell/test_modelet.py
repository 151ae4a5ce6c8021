"""States of a model server's one model; bytes and codes are in the contract tests."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from saxflow.cell.modelet import Modelet
from saxflow.errors import SaxError
from saxflow.sax import messages as m
from saxflow.sax import methods


class Context:
    """What a handler needs of a call."""

    async def abort(self, code: Any, details: str) -> None:
        raise SaxError(details, code=code.name)


class Loader:
    """Loads anything but `bad`."""

    streams = True

    def load(self, request: m.LoadRequest) -> Any:
        if request.checkpoint_path == "bad":
            raise ValueError("no good")
        return object()

    def unload(self) -> None: ...


def ask(modelet: Modelet, method: methods.Method[Any, Any], request: Any) -> Any:
    return modelet.behaviors()[method](request, Context())


def test_states_of_a_load_and_an_unload() -> None:
    async def run() -> None:
        modelet = Modelet(Loader())
        assert list(modelet.status(reasons=True).models) == []
        with pytest.raises(SaxError, match="Loading error: ValueError: no good"):
            await ask(modelet, methods.LOAD, m.LoadRequest(model_key="k", checkpoint_path="bad"))
        (failed,) = modelet.status(reasons=True).models
        assert (failed.model_status, failed.failure_reason) == (m.FAILED, "ValueError: no good")
        assert modelet.status(reasons=False).models[0].failure_reason == ""
        await ask(modelet, methods.UNLOAD, m.UnloadRequest(model_key="k"))
        await ask(modelet, methods.LOAD, m.LoadRequest(model_key="j"))
        (loaded,) = modelet.status(reasons=True).models
        assert (loaded.model_key, loaded.model_status) == ("j", m.LOADED)

    asyncio.run(run())


def test_a_failed_model_does_not_keep_another_out() -> None:
    async def run() -> None:
        modelet = Modelet(Loader())
        with pytest.raises(SaxError):
            await ask(modelet, methods.LOAD, m.LoadRequest(model_key="k", checkpoint_path="bad"))
        await ask(modelet, methods.LOAD, m.LoadRequest(model_key="j"))
        with pytest.raises(SaxError, match="holds one model"):
            await ask(modelet, methods.LOAD, m.LoadRequest(model_key="l"))

    asyncio.run(run())


def test_a_caller_that_goes_away_stops_neither_load_nor_unload() -> None:
    class Slow(Loader):
        """Loads and unloads when it is told to."""

        def __init__(self) -> None:
            self.go_on = threading.Event()

        def load(self, request: m.LoadRequest) -> Any:
            assert self.go_on.wait(10)
            return object()

        def unload(self) -> None:
            assert self.go_on.wait(10)

    async def abandon(modelet: Modelet, loader: Slow, method: Any, request: Any) -> None:
        loader.go_on.clear()
        call = asyncio.ensure_future(ask(modelet, method, request))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        loader.go_on.set()

    async def run() -> None:
        loader = Slow()
        modelet = Modelet(loader)
        await abandon(modelet, loader, methods.LOAD, m.LoadRequest(model_key="k"))
        await ask(modelet, methods.LOAD, m.LoadRequest(model_key="k"))
        (loaded,) = modelet.status(reasons=True).models
        assert loaded.model_status == m.LOADED
        await abandon(modelet, loader, methods.UNLOAD, m.UnloadRequest(model_key="k"))
        await ask(modelet, methods.LOAD, m.LoadRequest(model_key="j"))
        (loaded,) = modelet.status(reasons=True).models
        assert loaded.model_key == "j"

    asyncio.run(run())
