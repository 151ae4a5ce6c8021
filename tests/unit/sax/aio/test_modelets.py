"""What one model server is told."""

from __future__ import annotations

import pytest

from saxflow.errors import SaxError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.aio import AsyncCell
from saxflow.sax.values import Model, ModelStatus

from .servers import LLAMA, MODEL, Server, run


def test_what_a_model_server_is_told(server: Server) -> None:
    for method in (methods.LOAD, methods.UPDATE_LOADED, methods.UNLOAD):
        server.answers[method] = [method.reply()]
    status = m.GetStatusResponse.ModelWithStatus(
        model_key=LLAMA, model_status=m.FAILED, failure_reason="no memory"
    )
    server.answers[methods.GET_STATUS] = [m.GetStatusResponse(models=[status])]

    async def use(cell: AsyncCell) -> None:
        modelet = cell.modelet(server.address)
        await modelet.load(Model(LLAMA, "a.Llama", "/x", 1, {"A": "1"}))
        await modelet.update_loaded(LLAMA)
        await modelet.unload(LLAMA)
        assert await modelet.get_status() == (ModelStatus(LLAMA, "FAILED", "no memory"),)

    run("/unused", use)
    (load,) = server.asked(methods.LOAD)
    assert (load.model_key, load.model_path, load.checkpoint_path) == (LLAMA, "a.Llama", "/x")
    assert load.HasField("acls")
    assert dict(load.overrides) == {"A": "1"}
    assert server.asked(methods.UPDATE_LOADED)[0].HasField("acls")
    assert server.asked(methods.UNLOAD)[0].model_key == LLAMA
    assert server.asked(methods.GET_STATUS)[0].include_failure_reasons


def test_a_model_server_is_asked_once(server: Server) -> None:
    server.answers[methods.LOAD] = [("UNAVAILABLE", "busy")]
    with pytest.raises(SaxError, match=f"Load at {server.address}: busy") as caught:
        run("/unused", lambda cell: cell.modelet(server.address).load(MODEL))
    assert not caught.value.retryable
    assert len(server.asked(methods.LOAD)) == 1


def test_a_model_server_that_is_not_there(dead_address: str) -> None:
    with pytest.raises(SaxError) as caught:
        run("/unused", lambda cell: cell.modelet(dead_address).unload(LLAMA))
    assert str(caught.value) == f"Unload: nobody answers at {dead_address}"
    assert caught.value.retryable
