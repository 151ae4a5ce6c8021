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
from saxflow.cell.leading import Group
from saxflow.cell.programs import Programs, serving_mesh
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable

from ...listening import listening

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
        async with (
            listening({hosts.REPORT: report}) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            worker = hosts.Worker(1, 2)
            await asyncio.to_thread(following.Follower(worker, servable, channel).run, calls)
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
        group = Group(2, "127.0.0.1")
        async with listening(group.behaviors(), grace_seconds=0.5) as address:
            (directory / hosts.LEADER_FILE).write_text(json.dumps({"address": address}))
            await asyncio.wait_for(group.until_formed(), 20)
            group.broadcast("end")
        await asyncio.wait_for(waiting, 20)

    asyncio.run(run())
