"""A follower makes the leader's calls in order; whole groups are in the contract tests."""

from __future__ import annotations

import asyncio
import json
import queue
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from saxflow.cell import following, hosts
from saxflow.cell.programs import Programs, serving_mesh
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable

GREEDY = [[0], [0], [0], [9], [0], [0], [1], [0]]


def test_calls_are_made_on_the_programs(
    servable: Servable, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "form_system", lambda *_: None)
    made = Programs(servable, serving_mesh(servable))
    monkeypatch.setattr(following, "Programs", lambda *_: made)

    async def run() -> list[str]:
        reported: list[str] = []

        async def report(request: Any, context: Any) -> Any:
            reported.append(hosts.decode(request)["reason"])
            return hosts.REPORT.reply()

        server = grpc.aio.server()
        from saxflow.sax.handlers import generic_handlers

        server.add_generic_rpc_handlers(generic_handlers({hosts.REPORT: report}))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        for call in (
            {"call": "form", "coordinator": "none", "count": 2},
            {"call": "load", "checkpoint": "/nowhere", "servable": servable.as_dict()},
            {"call": "load", "checkpoint": checkpoint, "servable": servable.as_dict()},
            {"call": "prefill", "ids": [1, 3], "slot": 0, "slots": GREEDY},
            {"call": "score", "ids": [1, 3]},
            {"call": "release"},
            {"call": "end"},
        ):
            calls.put(call)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            worker = hosts.Worker(1, 2)
            await asyncio.to_thread(following.Follower(worker, servable, channel).run, calls)
        await server.stop(None)
        return reported

    first, second = asyncio.run(run())
    assert "must end in a step directory" in first
    assert second == ""


def test_a_follower_waits_for_a_leader_that_answers(
    tmp_path: Path, servable: Servable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_POLL_SECONDS", 0.01)
    cell = CellName("test")

    async def run() -> None:
        waiting = asyncio.create_task(
            following.follow(str(tmp_path), cell, hosts.Worker(1, 2), servable)
        )
        directory = tmp_path / "sax/test"
        directory.mkdir(parents=True)
        stale = json.dumps({"address": "127.0.0.1:1"})
        (directory / hosts.LEADER_FILE).write_text(stale)
        from saxflow.cell.leading import Group
        from saxflow.sax.handlers import generic_handlers

        group = Group(2, "127.0.0.1")
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(generic_handlers(group.behaviors()))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        live = json.dumps({"address": f"127.0.0.1:{port}"})
        (directory / hosts.LEADER_FILE).write_text(live)
        await asyncio.wait_for(group.until_formed(), 20)
        group.broadcast("end")
        await server.stop(0.5)
        await asyncio.wait_for(waiting, 20)

    asyncio.run(run())
