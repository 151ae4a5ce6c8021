"""States of a model server's one model; bytes and codes are in the contract tests."""

from __future__ import annotations

import asyncio
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
