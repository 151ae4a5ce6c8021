"""An admin acts at once, undoes what it cannot keep, and sends again what a server forgot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from saxflow.cell.admin import Admin
from saxflow.cell.files import StateFile, cell_directory
from saxflow.errors import CloudError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.names import CellName

from ...listening import admin_channel, call, listening

CELL = CellName("test")
MODEL = m.Model(
    model_id="/sax/test/m", model_path="a.B", checkpoint_path="x", requested_num_replicas=1
)


class Server:
    """A model server that can forget, and counts its loads."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.loads: asyncio.Queue[str] = asyncio.Queue()

    def behaviors(self) -> dict[methods.Method[Any, Any], Callable[..., Any]]:
        async def status(request: Any, context: Any) -> m.GetStatusResponse:
            kind = m.GetStatusResponse.ModelWithStatus
            models = [kind(model_key=key, model_status=m.LOADED) for key in self.held]
            return m.GetStatusResponse(models=models)

        async def load(request: m.LoadRequest, context: Any) -> m.LoadResponse:
            self.held.add(request.model_key)
            await self.loads.put(request.model_key)
            return m.LoadResponse()

        async def unload(request: m.UnloadRequest, context: Any) -> m.UnloadResponse:
            self.held.discard(request.model_key)
            return m.UnloadResponse()

        return {methods.GET_STATUS: status, methods.LOAD: load, methods.UNLOAD: unload}


def admin_with(state: StateFile) -> AbstractAsyncContextManager[grpc.aio.Channel]:
    return admin_channel(Admin(CELL, "127.0.0.1:1", state))


@pytest.fixture
def state(tmp_path: Path) -> StateFile:
    directory = cell_directory(str(tmp_path), CELL)
    directory.create()
    return StateFile(directory)


def join(address: str) -> m.JoinRequest:
    spec = m.ModelServer(chip_type=12, chip_topology=22, servable_model_paths=["a.B"])
    return m.JoinRequest(address=address, model_server=spec)


def test_a_server_that_forgot_its_model_gets_it_again_when_it_joins(state: StateFile) -> None:
    async def run() -> None:
        server = Server()
        async with listening(server.behaviors()) as address, admin_with(state) as channel:
            await call(channel, methods.JOIN, join(address))
            await call(channel, methods.PUBLISH, m.PublishRequest(model=MODEL))
            assert await asyncio.wait_for(server.loads.get(), 20) == "/sax/test/m"
            ready = m.WaitForReadyRequest(model_id="/sax/test/m", num_replicas=1)
            await call(channel, methods.WAIT_FOR_READY, ready)
            server.held.clear()
            await call(channel, methods.JOIN, join(address))
            assert await asyncio.wait_for(server.loads.get(), 20) == "/sax/test/m"

    asyncio.run(run())


def test_an_unpublished_model_makes_room_for_the_next(state: StateFile) -> None:
    async def run() -> None:
        server = Server()
        async with listening(server.behaviors()) as address, admin_with(state) as channel:
            await call(channel, methods.JOIN, join(address))
            await call(channel, methods.PUBLISH, m.PublishRequest(model=MODEL))
            await asyncio.wait_for(server.loads.get(), 20)
            await call(channel, methods.UNPUBLISH, m.UnpublishRequest(model_id="/sax/test/m"))
            other = m.Model(
                model_id="/sax/test/n",
                model_path="a.B",
                checkpoint_path="x",
                requested_num_replicas=1,
            )
            await call(channel, methods.PUBLISH, m.PublishRequest(model=other))
            assert await asyncio.wait_for(server.loads.get(), 20) == "/sax/test/n"
            assert server.held == {"/sax/test/n"}
        assert [model.model_id for model in state.read()] == ["/sax/test/n"]

    asyncio.run(run())


class Full(StateFile):
    """A disk without room."""

    def write(self, models: list[m.Model]) -> None:
        raise CloudError("no room", service="storage")


def test_what_cannot_be_kept_is_not_published(state: StateFile) -> None:
    async def run() -> None:
        async with admin_with(Full(state.directory)) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(channel, methods.PUBLISH, m.PublishRequest(model=MODEL))
            assert caught.value.details() == "no room"
            reply = await call(channel, methods.LIST, m.ListRequest())
            assert list(reply.published_models) == []

    asyncio.run(run())


def test_watchers_are_sent_elsewhere_when_the_admin_stops(state: StateFile) -> None:
    async def run() -> str:
        admin = Admin(CELL, "127.0.0.1:1", state)
        work = asyncio.create_task(admin.run())
        async with (
            listening(admin.behaviors()) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            await call(channel, methods.PUBLISH, m.PublishRequest(model=MODEL))
            request = m.WatchLocRequest(model_id="/sax/test/m")
            watching = asyncio.ensure_future(call(channel, methods.WATCH_LOC, request))
            await call(channel, methods.LIST, m.ListRequest())
            work.cancel()
            await asyncio.wait([work, watching])
            error = watching.exception()
            assert isinstance(error, grpc.aio.AioRpcError)
            return error.code().name

    assert asyncio.run(run()) == "UNAVAILABLE"
