"""The admin server of a cell: SAX's Admin service over a `Roster`.

It acts as soon as something happens; SAX's tick of ten seconds remains as a fallback. What is
published is on disk before Publish answers.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import grpc

from saxflow.cell import validators
from saxflow.cell.files import StateFile
from saxflow.cell.roster import REFUSALS, Plan, Roster
from saxflow.errors import SaxError, SaxflowError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.channels import Channels
from saxflow.sax.failures import NO_RETRIES
from saxflow.sax.handlers import Behavior
from saxflow.sax.names import CellName
from saxflow.sax.pace import Pace

TICK_SECONDS = 10.0
STATUS_SECONDS = 10.0
POLL_SECONDS = 2.0
Result = TypeVar("Result")
_log = logging.getLogger(__name__)


class Admin:
    """One admin server without its socket; run `run` beside the gRPC server."""

    def __init__(self, cell: CellName, address: str, state: StateFile) -> None:
        self._id = f"{address}_{secrets.token_hex(8)}"
        self._state = state
        self._roster = Roster(cell, state.read())
        self._channels = Channels()
        self._kick = asyncio.Event()
        self._changed = asyncio.Condition()
        self._saving = asyncio.Lock()
        self._stopped = asyncio.Event()
        self._queues: dict[str, asyncio.Task[None]] = {}
        self._joins: dict[str, asyncio.Lock] = {}

    def behaviors(self) -> dict[methods.Method[Any, Any], Behavior]:
        """Return what `sax.handlers.generic_handlers` serves."""
        served: dict[methods.Method[Any, Any], Callable[[Any], Awaitable[Any]]] = {
            methods.PUBLISH: self._publish,
            methods.UPDATE: self._update,
            methods.UNPUBLISH: self._unpublish,
            methods.LIST: self._list,
            methods.STATS: self._stats,
            methods.WATCH_LOC: self._watch_loc,
            methods.WAIT_FOR_READY: self._wait_for_ready,
            methods.JOIN: self._join,
        }
        return {method: _answering(behavior) for method, behavior in served.items()}

    async def run(self) -> None:
        """Assign, prune and follow the servers until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._refresh_forever())
                tasks.create_task(self._poll_forever())
        finally:
            self._stopped.set()
            for task in self._queues.values():
                task.cancel()
            await self._channels.close()

    async def _publish(self, request: m.PublishRequest) -> m.PublishResponse:
        self._roster.publish(request.model)
        try:
            await self._save()
        except SaxflowError:
            self._roster.unpublish(request.model.model_id)
            raise
        self._kick.set()
        _log.info("published %s", request.model.model_id)
        return m.PublishResponse()

    async def _update(self, request: m.UpdateRequest) -> m.UpdateResponse:
        for address in self._roster.update(request.model):
            self._enqueue(address, self._update_loaded(address, request.model.model_id))
        await self._save()
        self._kick.set()
        return m.UpdateResponse()

    async def _unpublish(self, request: m.UnpublishRequest) -> m.UnpublishResponse:
        self._roster.unpublish(request.model_id)
        await self._save()
        self._kick.set()
        await self._tell_waiters()
        _log.info("unpublished %s", request.model_id)
        return m.UnpublishResponse()

    async def _list(self, request: m.ListRequest) -> m.ListResponse:
        return m.ListResponse(published_models=self._roster.listed(request.model_id))

    async def _stats(self, request: m.StatsRequest) -> m.StatsResponse:
        return m.StatsResponse(model_server_type_stats=self._roster.stats(request.model_id))

    async def _watch_loc(self, request: m.WatchLocRequest) -> m.WatchLocResponse:
        validators.check_seqno(request.seqno)
        published = self._roster.model(request.model_id)
        seqno = request.seqno if request.admin_server_id == self._id else 0
        result = await self._unless_stopping(published.watchable.watch(seqno))
        return m.WatchLocResponse(admin_server_id=self._id, result=result)

    async def _wait_for_ready(self, request: m.WaitForReadyRequest) -> m.WaitForReadyResponse:
        await self._unless_stopping(self._until_ready(request))
        return m.WaitForReadyResponse()

    async def _until_ready(self, request: m.WaitForReadyRequest) -> None:
        async with self._changed:
            while self._missing(request):
                await self._changed.wait()

    def _missing(self, request: m.WaitForReadyRequest) -> bool:
        name = self._roster.model(request.model_id).name
        return self._roster.loaded(str(name)) < request.num_replicas

    async def _join(self, request: m.JoinRequest) -> m.JoinResponse:
        validators.check_join(request)
        async with self._joins.setdefault(request.address, asyncio.Lock()):
            if self._roster.knows(request):
                await self._poll(request.address)
            else:
                await self._take_in(request)
        return m.JoinResponse()

    async def _take_in(self, request: m.JoinRequest) -> None:
        try:
            status = await self._status(request.address)
        except SaxflowError as error:
            raise SaxError(
                f"failed to start a connection with {request.address}: {error}", code="UNKNOWN"
            ) from error
        self._forget_queue(request.address)
        held = self._roster.joined(request, status, time.monotonic())
        _log.info("%s joined", request.address)
        for model_id in held:
            self._enqueue(request.address, self._update_loaded(request.address, model_id))
        self._kick.set()
        await self._tell_waiters()

    async def _refresh_forever(self) -> None:
        while True:
            self._carry_out(self._roster.refresh(time.monotonic()))
            await self._tell_waiters()
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._kick.wait()
            except TimeoutError:
                continue
            finally:
                self._kick.clear()

    def _carry_out(self, plan: Plan) -> None:
        for address in plan.dropped:
            _log.info("%s has not answered and is dropped", address)
            self._forget_queue(address)
        for address, model_id in plan.unload:
            self._enqueue(address, self._unload(address, model_id))
        for address, model_id in plan.load:
            self._enqueue(address, self._load(address, model_id))

    async def _poll_forever(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await asyncio.gather(*(self._poll(address) for address in self._roster.addresses()))

    async def _poll(self, address: str) -> None:
        """Ask a server for its status; send again what it has forgotten."""
        try:
            status = await self._status(address)
        except SaxflowError as error:
            self._missed(address, error)
            return
        forgotten = self._roster.pinged(address, status, time.monotonic())
        queue = self._queues.get(address)
        if queue is None or queue.done():
            for model_id in forgotten:
                self._enqueue(address, self._load(address, model_id))
        await self._tell_waiters()

    def _missed(self, address: str, error: SaxflowError) -> None:
        """Note a poll without an answer; where nobody listens any more, do not wait for long."""
        gone = isinstance(error, SaxError) and error.code == "UNAVAILABLE"
        if gone and self._roster.refused(address) == REFUSALS:
            _log.warning("%s is gone: %s", address, error)
            self._kick.set()

    async def _status(self, address: str) -> m.GetStatusResponse:
        return await self._call(methods.GET_STATUS, address, m.GetStatusRequest(), STATUS_SECONDS)

    def _enqueue(self, address: str, action: Any) -> None:
        """Run an action after those already asked of the same server."""
        before = self._queues.get(address)

        async def in_turn() -> None:
            if before is not None:
                await asyncio.wait([before])
            await action

        self._queues[address] = asyncio.create_task(in_turn())

    def _forget_queue(self, address: str) -> None:
        if task := self._queues.pop(address, None):
            task.cancel()

    async def _load(self, address: str, model_id: str) -> None:
        try:
            spec = self._roster.model(model_id).spec
        except SaxError:
            return
        request = m.LoadRequest(
            model_key=model_id,
            model_path=spec.model_path,
            checkpoint_path=spec.checkpoint_path,
            acls=m.AccessControlLists(items=spec.acls.items),
            overrides=spec.overrides,
        )
        state: int = m.LOADED
        try:
            await self._call(methods.LOAD, address, request, None)
        except SaxflowError as error:
            state = m.FAILED
            _log.warning("%s failed to load %s: %s", address, model_id, error)
        self._roster.outcome(address, model_id, state)
        await self._tell_waiters()

    async def _unload(self, address: str, model_id: str) -> None:
        try:
            await self._call(methods.UNLOAD, address, m.UnloadRequest(model_key=model_id), None)
        except SaxflowError as error:
            _log.warning("%s failed to unload %s: %s", address, model_id, error)
            self._roster.outcome(address, model_id, m.FAILED)
            return
        self._roster.outcome(address, model_id, None)
        self._kick.set()

    async def _update_loaded(self, address: str, model_id: str) -> None:
        try:
            spec = self._roster.model(model_id).spec
            request = m.UpdateLoadedRequest(
                model_key=model_id, acls=m.AccessControlLists(items=spec.acls.items)
            )
            await self._call(methods.UPDATE_LOADED, address, request, STATUS_SECONDS)
        except SaxflowError as error:
            _log.warning("%s failed to update %s: %s", address, model_id, error)

    async def _call(
        self,
        method: methods.Method[Any, Any],
        address: str,
        request: Any,
        deadline_seconds: float | None,
    ) -> Any:
        pace = Pace(f"{method.name} at {address}", deadline_seconds=deadline_seconds)
        return await self._channels.call(method, address, request, pace=pace, retried=NO_RETRIES)

    async def _unless_stopping(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for `work`, but not longer than the admin lives."""
        task = asyncio.ensure_future(work)
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise SaxError("admin server is stopping", code="UNAVAILABLE", retryable=True)
            return task.result()
        finally:
            task.cancel()
            stopped.cancel()

    async def _save(self) -> None:
        async with self._saving:
            await asyncio.to_thread(self._state.write, self._roster.specs())

    async def _tell_waiters(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _answering(behavior: Callable[[Any], Awaitable[Any]]) -> Behavior:
    """Turn refusals into the status a Go admin sends: UNKNOWN, the code in the text."""

    async def answer(request: Any, context: Any) -> Any:
        try:
            return await behavior(request)
        except SaxflowError as error:
            await context.abort(_status(error), str(error))

    return answer


def _status(error: SaxflowError) -> grpc.StatusCode:
    """Only what a client must repeat elsewhere travels as what it is."""
    stopping = isinstance(error, SaxError) and error.code == "UNAVAILABLE"
    return grpc.StatusCode.UNAVAILABLE if stopping else grpc.StatusCode.UNKNOWN
