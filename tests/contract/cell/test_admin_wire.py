"""The admin under the bytes that real peers sent to SAX's own: same replies, same statuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from saxflow.cell.admin import Admin
from saxflow.cell.files import StateFile, announce, cell_directory, create_cell
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.names import CellName

from ...listening import admin_channel, listening

CELL = CellName("test")
MODELET = "10.77.0.1:14041"


@pytest.fixture
def wire(golden: Path) -> list[dict[str, Any]]:
    return json.loads((golden / "wire.json").read_text())


class Modelet:
    """A model server that records what the admin asks of it, as bytes."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str]] = []
        self.loaded = asyncio.Event()

    def behaviors(self) -> dict[methods.Method[Any, Any], Callable[..., Awaitable[Any]]]:
        async def answer(method: methods.Method[Any, Any], request: Any) -> Any:
            self.received.append((method.path, request.SerializeToString().hex()))
            if method is methods.LOAD:
                self.loaded.set()
            return method.reply()

        def behavior(method: methods.Method[Any, Any]) -> Callable[..., Awaitable[Any]]:
            async def handle(request: Any, context: Any) -> Any:
                return await answer(method, request)

            return handle

        served = (methods.GET_STATUS, methods.LOAD, methods.UNLOAD, methods.UPDATE_LOADED)
        return {method: behavior(method) for method in served}


def admin_at(state: StateFile) -> AbstractAsyncContextManager[grpc.aio.Channel]:
    return admin_channel(Admin(CELL, "10.77.0.1:10040", state))


def state_in(path: Path) -> StateFile:
    directory = cell_directory(str(path), CELL)
    directory.create()
    return StateFile(directory)


async def send(channel: Any, path: str, data: bytes) -> tuple[bytes, int, str]:
    """Send raw bytes; return the reply, or a status and its text."""
    try:
        return await channel.unary_unary(path)(data, timeout=20), 0, ""
    except grpc.aio.AioRpcError as error:
        return b"", int(error.code().value[0]), error.details() or ""


def recorded(wire: list[dict[str, Any]], method: str) -> list[dict[str, Any]]:
    return [e for e in wire if e["dir"] == "admin" and e["method"] == f"/sax.Admin/{method}"]


def moved(entry: dict[str, Any], address: str) -> bytes:
    """Return a recorded Join with the address of our own modelet in it."""
    request = m.JoinRequest.FromString(bytes.fromhex(entry["request_hex"]))
    request.address = address
    return request.SerializeToString()


def test_recorded_traffic_of_a_publication(wire: list[dict[str, Any]], tmp_path: Path) -> None:
    """Publish, publish again, join, watch, load, wait, list, stats, update: byte for byte."""

    async def run() -> None:
        modelet = Modelet()
        async with (
            listening(modelet.behaviors()) as server,
            admin_at(state_in(tmp_path)) as channel,
        ):

            async def replay(method: str, index: int) -> tuple[bytes, dict[str, Any]]:
                entry = recorded(wire, method)[index]
                data = bytes.fromhex(entry["request_hex"])
                if method == "Join":
                    data = moved(entry, server)
                reply, code, details = await send(channel, entry["method"], data)
                assert (code, details) == (entry.get("code", 0), entry.get("details", ""))
                return reply, entry

            for method, index in (("Publish", 0), ("Publish", 1), ("Join", 0)):
                reply, entry = await replay(method, index)
                assert reply.hex() == entry.get("response_hex", "")
            reply, entry = await replay("WatchLoc", 0)
            found = m.WatchLocResponse.FromString(reply)
            wanted = m.WatchLocResponse.FromString(bytes.fromhex(entry["response_hex"]))
            assert found.admin_server_id.rpartition("_")[0] == "10.77.0.1:10040"
            assert len(found.admin_server_id) == len(wanted.admin_server_id)
            wanted.result.changelog[0].addition = server
            assert found.result == wanted.result
            await asyncio.wait_for(modelet.loaded.wait(), 20)
            (load,) = [e for e in wire if e.get("method") == "/sax.Modelet/Load"]
            assert ("/sax.Modelet/Load", load["hex"]) in modelet.received
            reply, _ = await replay("WaitForReady", 0)
            assert reply == b""
            for index in (0, 1):
                reply, entry = await replay("List", index)
                expected = m.ListResponse.FromString(bytes.fromhex(entry["response_hex"]))
                expected.published_models[0].modelet_addresses[:] = [server]
                assert reply == expected.SerializeToString(deterministic=True)
            await replay("List", 2)
            reply, entry = await replay("Stats", 0)
            assert reply.hex() == entry["response_hex"]
            await replay("Update", 0)

    asyncio.run(run())


def test_state_on_disk_is_saxs_own(wire: list[dict[str, Any]], tmp_path: Path) -> None:
    entry = next(e for e in wire if e.get("path", "").endswith("state.proto"))
    held = m.State.FromString(bytes.fromhex(entry["hex"]))
    state_in(tmp_path).write(list(held.models))
    assert (tmp_path / "sax/test/state.proto").read_bytes().hex() == entry["hex"]


def test_cell_files_on_disk_are_saxs_own(wire: list[dict[str, Any]], tmp_path: Path) -> None:
    create_cell(str(tmp_path), CELL, "gs://b/sax-fs-root")
    announce(str(tmp_path), CELL, "10.77.0.1:10040")
    for name in ("config.proto", "location.proto"):
        entry = next(e for e in wire if e.get("path", "").endswith(name))
        assert (tmp_path / "sax/test" / name).read_bytes().hex() == entry["hex"]


def test_published_models_survive_an_admin_that_never_said_goodbye(tmp_path: Path) -> None:
    model = m.Model(
        model_id="/sax/test/m",
        model_path="a.B",
        checkpoint_path="x",
        requested_num_replicas=1,
    )

    async def run() -> None:
        request = m.PublishRequest(model=model).SerializeToString()
        async with admin_at(state_in(tmp_path)) as channel:
            await send(channel, methods.PUBLISH.path, request)
            async with admin_at(state_in(tmp_path)) as second:
                reply, _, _ = await send(second, methods.LIST.path, b"")
        assert m.ListResponse.FromString(reply).published_models[0].model == model

    asyncio.run(run())


def test_a_server_that_cannot_be_reached_does_not_join(
    wire: list[dict[str, Any]], tmp_path: Path
) -> None:
    async def run() -> tuple[int, str]:
        async with admin_at(state_in(tmp_path)) as channel:
            data = moved(recorded(wire, "Join")[0], "127.0.0.1:1")
            _, code, details = await send(channel, methods.JOIN.path, data)
            return code, details

    code, details = asyncio.run(run())
    assert code == grpc.StatusCode.UNKNOWN.value[0]
    assert "failed to start a connection with 127.0.0.1:1" in details


def test_waiting_calls_end_with_the_callers_deadline(tmp_path: Path) -> None:
    model = m.Model(model_id="/sax/test/m", model_path="a.B", checkpoint_path="x")

    async def run() -> list[str]:
        async with admin_at(state_in(tmp_path)) as channel:
            publish = m.PublishRequest(model=model).SerializeToString()
            await send(channel, methods.PUBLISH.path, publish)
            codes: list[str] = []
            for path, request in (
                (methods.WATCH_LOC.path, m.WatchLocRequest(model_id="/sax/test/m")),
                (
                    methods.WAIT_FOR_READY.path,
                    m.WaitForReadyRequest(model_id="/sax/test/m", num_replicas=1),
                ),
            ):
                try:
                    await channel.unary_unary(path)(request.SerializeToString(), timeout=0.2)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code().name)
            return codes

    assert asyncio.run(run()) == ["DEADLINE_EXCEEDED"] * 2
