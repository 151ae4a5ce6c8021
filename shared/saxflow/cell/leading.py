"""Worker 0 of a multi-host model server: gather the others, then have them do what it does."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

from saxflow.cell import hosts
from saxflow.errors import WeightsError
from saxflow.sax.handlers import Behavior
from saxflow.sax.methods import Method

if TYPE_CHECKING:
    from saxflow.cell.programs import HostSlots, Programs

_log = logging.getLogger(__name__)


class Group:
    """The followers of one leader; a group forms once and ends when any worker is lost."""

    def __init__(self, count: int, host: str) -> None:
        self._count = count
        self._host = host
        self._queues: dict[int, asyncio.Queue[BytesValue]] = {}
        self._loop = asyncio.get_running_loop()
        self._formed = threading.Event()
        self._complete = asyncio.Event()
        self._lost = asyncio.Event()
        self._reports: dict[int, str] = {}
        self._reported = threading.Condition()

    def behaviors(self) -> dict[Method[Any, Any], Behavior]:
        """Return what the leader's server answers to followers."""
        return {hosts.FOLLOW: self._follow, hosts.REPORT: self._report}

    def form(self) -> None:
        """Wait in a thread for every follower, then make one JAX system of all processes."""
        self._formed.wait()
        coordinator = f"{self._host}:{_free_port(self._host)}"
        self.broadcast("form", coordinator=coordinator, count=self._count)
        form_system(coordinator, self._count, 0)
        _log.info("%d workers form one model server", self._count)

    async def until_formed(self) -> None:
        """Return when every follower is here."""
        await self._complete.wait()

    async def until_lost(self) -> None:
        """Return when a follower is gone; the group cannot go on without it."""
        await self._lost.wait()

    def broadcast(self, call: str, **arguments: Any) -> None:
        """Have every follower make a call; order is kept."""
        message = hosts.encode(call, **arguments)
        for queue in self._queues.values():
            self._loop.call_soon_threadsafe(queue.put_nowait, message)

    def outcome(self) -> None:
        """Wait in a thread until every follower has told what became of the load.

        Raises:
            WeightsError: one failed; the message gives its reason.
        """
        with self._reported:
            self._reported.wait_for(lambda: len(self._reports) == self._count - 1)
            reports, self._reports = self._reports, {}
        for ordinal, reason in reports.items():
            if reason:
                raise WeightsError(f"worker {ordinal}: {reason}")

    async def _follow(self, request: BytesValue, context: Any) -> AsyncGenerator[BytesValue]:
        ordinal = int(hosts.decode(request)["ordinal"])
        if self._formed.is_set() or ordinal in self._queues:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"worker {ordinal} is here already")
        queue = self._queues[ordinal] = asyncio.Queue()
        await context.send_initial_metadata(())
        if len(self._queues) == self._count - 1:
            self._formed.set()
            self._complete.set()
        try:
            while True:
                yield await queue.get()
        finally:
            _log.warning("worker %d is gone", ordinal)
            self._leave(ordinal)

    def _leave(self, ordinal: int) -> None:
        """Before the group has formed a worker may come again; afterwards all must."""
        if self._formed.is_set():
            self._lost.set()
        else:
            del self._queues[ordinal]

    async def _report(self, request: BytesValue, context: Any) -> BytesValue:
        report = hosts.decode(request)
        with self._reported:
            self._reports[int(report["ordinal"])] = str(report["reason"])
            self._reported.notify()
        return BytesValue()


class Leading:
    """`Programs` whose every call the followers make too."""

    def __init__(self, programs: Programs, group: Group) -> None:
        self.servable = programs.servable
        self._programs = programs
        self._group = group

    def warm(self) -> None:
        """As `Programs.warm`."""
        self._programs.warm()

    def load(self, checkpoint: str) -> None:
        """As `Programs.load`, on every worker; the first failure anywhere is raised."""
        self._group.broadcast(
            "load", checkpoint=checkpoint, servable=self._programs.servable.as_dict()
        )
        try:
            self._programs.load(checkpoint)
        finally:
            self._group.outcome()

    def release(self) -> None:
        """As `Programs.release`."""
        self._group.broadcast("release")
        self._programs.release()

    def prefill(self, ids: Sequence[int], slot: int, sampling: HostSlots) -> tuple[int, float]:
        """As `Programs.prefill`."""
        self._group.broadcast("prefill", ids=list(ids), slot=slot, slots=hosts.columns(sampling))
        return self._programs.prefill(ids, slot, sampling)

    def decode(self, slots: HostSlots, limit: int) -> tuple[Any, Any]:
        """As `Programs.decode`."""
        self._group.broadcast("decode", slots=hosts.columns(slots), limit=limit)
        return self._programs.decode(slots, limit)

    def score(self, ids: Sequence[int]) -> Any:
        """As `Programs.score`."""
        self._group.broadcast("score", ids=list(ids))
        return self._programs.score(ids)


def form_system(coordinator: str, count: int, ordinal: int) -> None:
    """Make one JAX system of `count` processes."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator,
        num_processes=count,
        process_id=ordinal,
        coordinator_bind_address=coordinator if ordinal == 0 else None,
    )


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]
