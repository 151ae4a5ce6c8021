"""A leader and its followers, over real channels, without JAX."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from saxflow.cell import hosts
from saxflow.cell.leading import Group, Leading
from saxflow.errors import WeightsError

from ...listening import listening


@asynccontextmanager
async def leader(count: int) -> Any:
    group = Group(count, "127.0.0.1")
    async with (
        listening(group.behaviors()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield group, channel


def follow(channel: Any, ordinal: int) -> Any:
    rpc = channel.unary_stream(
        hosts.FOLLOW.path,
        request_serializer=hosts.FOLLOW.request.SerializeToString,
        response_deserializer=hosts.FOLLOW.reply.FromString,
    )
    return rpc(hosts.encode("follow", ordinal=ordinal))


async def report(channel: Any, ordinal: int, reason: str) -> None:
    rpc = channel.unary_unary(
        hosts.REPORT.path,
        request_serializer=hosts.REPORT.request.SerializeToString,
        response_deserializer=hosts.REPORT.reply.FromString,
    )
    await rpc(hosts.encode("loaded", ordinal=ordinal, reason=reason))


def test_calls_reach_every_follower_in_order_and_a_loss_is_noticed() -> None:
    async def run() -> None:
        async with leader(3) as (group, channel):
            followers = [follow(channel, ordinal) for ordinal in (1, 2)]
            await asyncio.wait_for(group.until_formed(), 20)
            for number in range(5):
                group.broadcast("score", ids=[number])
            for follower in followers:
                calls = [hosts.decode(await follower.read()) for _ in range(5)]
                assert [call["ids"] for call in calls] == [[n] for n in range(5)]
            followers[0].cancel()
            await asyncio.wait_for(group.until_lost(), 20)
            followers[1].cancel()

    asyncio.run(run())


def test_a_formed_group_takes_nobody_else() -> None:
    async def run() -> None:
        async with leader(2) as (group, channel):
            follower = follow(channel, 1)
            await asyncio.wait_for(group.until_formed(), 20)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await follow(channel, 1).read()
            assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
            follower.cancel()

    asyncio.run(run())


async def taken_in(channel: Any, ordinal: int) -> Any:
    """Follow as soon as the leader has noticed that the worker was gone."""
    while True:
        call = follow(channel, ordinal)
        await call.initial_metadata()
        if not call.done():
            return call


def test_a_worker_may_come_again_before_the_group_has_formed() -> None:
    async def run() -> None:
        async with leader(3) as (group, channel):
            early = follow(channel, 1)
            await early.initial_metadata()
            early.cancel()
            other = follow(channel, 2)
            again = await taken_in(channel, 1)
            await asyncio.wait_for(group.until_formed(), 20)
            again.cancel()
            other.cancel()

    asyncio.run(run())


class Programs:
    """Records what is done here."""

    def __init__(self) -> None:
        self.done: list[str] = []
        from saxflow.sax.servable import Servable

        self.servable = Servable(1, 1, 1, 2, 2, 2, 4, "ids:")

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.done.append(name)


def test_a_leader_has_followers_do_what_it_does_and_hears_their_failures() -> None:
    async def run() -> None:
        async with leader(2) as (group, channel):
            follower = follow(channel, 1)
            await asyncio.wait_for(group.until_formed(), 20)
            programs: Any = Programs()
            leading = Leading(programs, group)
            loading = asyncio.create_task(asyncio.to_thread(leading.load, "c"))
            assert hosts.decode(await follower.read())["checkpoint"] == "c"
            await report(channel, 1, "disk on fire")
            with pytest.raises(WeightsError, match="worker 1: disk on fire"):
                await loading
            again = asyncio.create_task(asyncio.to_thread(leading.load, "d"))
            await follower.read()
            await report(channel, 1, "")
            await again
            leading.score([1, 2])
            leading.release()
            assert [hosts.decode(await follower.read())["call"] for _ in range(2)] == [
                "score",
                "release",
            ]
            leading.warm()
            assert programs.done == ["load", "load", "score", "release", "warm"]
            follower.cancel()

    asyncio.run(run())
