"""Any worker but the first: find the leader, then make every call it makes."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from typing import Any

import grpc
import grpc.aio

from saxflow.cell import hosts
from saxflow.cell.engine import slot_arrays
from saxflow.cell.leading import form_system
from saxflow.cell.programs import Programs, serving_mesh
from saxflow.errors import SaxflowError
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable

_POLL_SECONDS = 0.2
_log = logging.getLogger(__name__)


async def follow(sax_root: str, cell: CellName, worker: hosts.Worker, servable: Servable) -> None:
    """Follow the leader until it is gone; then the process must end, for a new group to form."""
    while True:
        try:
            address = await asyncio.to_thread(hosts.leader_address, sax_root, cell)
            if await _follow_one(address, worker, servable):
                return
        except SaxflowError as error:
            _log.debug("no leader yet: %s", error)
        await asyncio.sleep(_POLL_SECONDS)


async def _follow_one(address: str, worker: hosts.Worker, servable: Servable) -> bool:
    """Follow the leader at an address; return whether it ever took us in."""
    calls: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    async with grpc.aio.insecure_channel(address) as channel:
        follower = Follower(worker, servable, channel)
        threading.Thread(target=follower.run, args=(calls,), daemon=True).start()
        rpc: Any = channel.unary_stream(
            hosts.FOLLOW.path,
            request_serializer=hosts.FOLLOW.request.SerializeToString,
            response_deserializer=hosts.FOLLOW.reply.FromString,
        )
        taken_in = False
        try:
            async for message in rpc(hosts.encode("follow", ordinal=worker.ordinal)):
                taken_in = True
                calls.put(hosts.decode(message))
        except grpc.aio.AioRpcError as error:
            _log.log(logging.WARNING if taken_in else logging.DEBUG, "leader: %s", error.details())
        calls.put({"call": "end"})
        return taken_in


class Follower:
    """Makes the leader's calls, in a thread, one after the other."""

    def __init__(self, worker: hosts.Worker, servable: Servable, channel: grpc.aio.Channel) -> None:
        self._worker = worker
        self._servable = servable
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._programs: Programs | None = None

    def run(self, calls: queue.SimpleQueue[dict[str, Any]]) -> None:
        """Make calls until `end`."""
        while (call := calls.get())["call"] != "end":
            getattr(self, f"_{call.pop('call')}")(**call)

    def _form(self, coordinator: str, count: int) -> None:
        form_system(coordinator, count, self._worker.ordinal)
        self._programs = Programs(self._servable, serving_mesh(self._servable))
        self._programs.warm()

    def _load(self, checkpoint: str, servable: dict[str, Any]) -> None:
        wanted = Servable.from_dict(servable)
        if self._held.servable != wanted:
            self._programs = Programs(wanted, serving_mesh(wanted))
        reason = ""
        try:
            self._held.load(checkpoint)
        except SaxflowError as error:
            reason = str(error)
        report = hosts.encode("loaded", ordinal=self._worker.ordinal, reason=reason)
        asyncio.run_coroutine_threadsafe(self._report(report), self._loop).result()

    async def _report(self, report: Any) -> None:
        rpc: Any = self._channel.unary_unary(
            hosts.REPORT.path,
            request_serializer=hosts.REPORT.request.SerializeToString,
            response_deserializer=hosts.REPORT.reply.FromString,
        )
        await rpc(report)

    def _release(self) -> None:
        self._held.release()

    def _prefill(self, ids: list[int], slot: int, slots: list[list[float]]) -> None:
        self._held.prefill(ids, slot, slot_arrays(slots))

    def _decode(self, slots: list[list[float]], limit: int) -> None:
        self._held.decode(slot_arrays(slots), limit)

    def _score(self, ids: list[int]) -> None:
        self._held.score(ids)

    @property
    def _held(self) -> Programs:
        assert self._programs is not None
        return self._programs
