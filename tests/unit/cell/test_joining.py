"""A server joins, joins again, and finds an admin that moved."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from saxflow.cell import joining
from saxflow.cell.files import announce, create_cell
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.names import CellName

from ...listening import listening

CELL = CellName("test")


@asynccontextmanager
async def admin(joins: asyncio.Queue[m.JoinRequest]) -> Any:
    async def join(request: m.JoinRequest, context: Any) -> m.JoinResponse:
        await joins.put(request)
        return m.JoinResponse()

    async with listening({methods.JOIN: join}) as address:
        yield address


def test_a_server_follows_its_admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "POLL_SECONDS", 0.01)
    request = m.JoinRequest(address="127.0.0.1:9", model_server=m.ModelServer(chip_type=12))

    async def run() -> None:
        first: asyncio.Queue[m.JoinRequest] = asyncio.Queue()
        second: asyncio.Queue[m.JoinRequest] = asyncio.Queue()
        member = asyncio.create_task(joining.stay_joined(str(tmp_path), CELL, request))
        create_cell(str(tmp_path), CELL, "/state")
        async with admin(first) as address:
            announce(str(tmp_path), CELL, address)
            assert await asyncio.wait_for(first.get(), 20) == request
            await asyncio.wait_for(first.get(), 20)
        async with admin(second) as address:
            announce(str(tmp_path), CELL, address)
            assert await asyncio.wait_for(second.get(), 20) == request
        member.cancel()
        await asyncio.wait([member])

    asyncio.run(run())
