"""Clients for a SAX cell, its models and its model servers, on asyncio.

    async with AsyncCell.open("gs://cells/llama/sax-root", "/sax/test") as cell:
        print(await cell.list())
        model = cell.model("/sax/test/llama27b")
        print(await model.generate("Hello", {"temperature": 0.0}))

Nothing is dialled before the first call. Calls of one cell share channels and the replica of each
model's addresses, so one `AsyncCell` should live as long as the program speaks to the cell.

Source: google/saxml v1.1.0 `saxml/client/go/{admin,sax,sax_lm,location}.go`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

from google.protobuf.message import Message

from saxflow.errors import SaxError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.addresses import Addresses
from saxflow.sax.channels import Channels, unreachable
from saxflow.sax.failures import ADMIN_RETRIES, NO_RETRIES, SERVER_RETRIES
from saxflow.sax.methods import Method
from saxflow.sax.names import CellName, ModelName, check_address, check_replicas, check_text
from saxflow.sax.pace import Pace
from saxflow.sax.roots import LOCATION_FILE, SaxRoot
from saxflow.sax.values import (
    ExtraInputs,
    Generated,
    Model,
    ModelStatus,
    PublishedModel,
    ServerStat,
    Transcript,
    extra_inputs,
)

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

ADMIN_SECONDS = 10.0
"""Default deadline of a call to an admin or modelet, as saxutil's."""


class AsyncCell:
    """One SAX cell, found through its sax-root."""

    def __init__(self, root: SaxRoot, cell: CellName) -> None:
        self.root = root
        self.name = cell
        self._channels = Channels()
        self._admin_address: str | None = None
        self._addresses: dict[ModelName, Addresses] = {}

    @classmethod
    def open(cls, sax_root: str, cell: str) -> AsyncCell:
        """Return a cell's client without any I/O.

        Args:
            sax_root: `gs://bucket/prefix` or a local directory.
            cell: `/sax/<cell>`.

        Raises:
            InputError: one of them is malformed.
        """
        return cls(SaxRoot(sax_root), CellName.parse(cell))

    async def __aenter__(self) -> AsyncCell:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop watching and close all channels."""
        for addresses in self._addresses.values():
            await addresses.close()
        self._addresses.clear()
        await self._channels.close()

    def model(self, model_id: str) -> AsyncModel:
        """Return a published model's client, without any I/O."""
        return AsyncModel(self, ModelName.parse(model_id), self._channels)

    def modelet(self, address: str) -> AsyncModelet:
        """Return the client of one model server's control service, without any I/O."""
        return AsyncModelet(check_address(address), self._channels)

    async def publish(self, model: Model, *, deadline_seconds: float = ADMIN_SECONDS) -> None:
        """Ask the admin to have a model loaded.

        Raises:
            SaxError: code `ALREADY_EXISTS` when it is published, or is still being unpublished.
        """
        request = m.PublishRequest(model=model.message())
        await self.call(methods.PUBLISH, request, deadline_seconds=deadline_seconds)

    async def update(self, model: Model, *, deadline_seconds: float = ADMIN_SECONDS) -> None:
        """Change a published model's replicas or overrides.

        Raises:
            SaxError: code `INVALID_ARGUMENT` when path or checkpoint differ, `NOT_FOUND`.
        """
        request = m.UpdateRequest(model=model.message())
        await self.call(methods.UPDATE, request, deadline_seconds=deadline_seconds)

    async def unpublish(self, model_id: str, *, deadline_seconds: float = ADMIN_SECONDS) -> None:
        """Have a model unloaded and forgotten.

        Raises:
            SaxError: code `NOT_FOUND` when it is not published.
        """
        request = m.UnpublishRequest(model_id=str(ModelName.parse(model_id)))
        await self.call(methods.UNPUBLISH, request, deadline_seconds=deadline_seconds)

    async def list(
        self, model_id: str = "", *, deadline_seconds: float = ADMIN_SECONDS
    ) -> tuple[PublishedModel, ...]:
        """Return one published model, or all of the cell, in the order of their names.

        Raises:
            SaxError: code `NOT_FOUND` when `model_id` is not published.
        """
        request = m.ListRequest(model_id=str(ModelName.parse(model_id)) if model_id else "")
        reply = await self.call(methods.LIST, request, deadline_seconds=deadline_seconds)
        found = map(PublishedModel.from_message, reply.published_models)
        return tuple(sorted(found, key=lambda published: published.model.model_id))

    async def stats(
        self, model_id: str = "", *, deadline_seconds: float = ADMIN_SECONDS
    ) -> tuple[ServerStat, ...]:
        """Return how many servers of each kind have joined, or serve one model."""
        request = m.StatsRequest(model_id=str(ModelName.parse(model_id)) if model_id else "")
        reply = await self.call(methods.STATS, request, deadline_seconds=deadline_seconds)
        return tuple(map(ServerStat.from_message, reply.model_server_type_stats))

    async def wait_for_ready(
        self, model_id: str, replicas: int = 1, *, deadline_seconds: float
    ) -> None:
        """Return when that many servers have loaded the model.

        Raises:
            DeadlineError: they have not in time.
            SaxError: code `NOT_FOUND` when it is not published.
        """
        request = m.WaitForReadyRequest(
            model_id=str(ModelName.parse(model_id)), num_replicas=check_replicas(replicas)
        )
        await self.call(methods.WAIT_FOR_READY, request, deadline_seconds=deadline_seconds)

    async def watch_loc(
        self, request: m.WatchLocRequest, *, deadline_seconds: float
    ) -> m.WatchLocResponse:
        """Return what happened to a model's addresses since; waits for it until the deadline.

        Raises:
            DeadlineError: nothing happened.
            SaxError: code `NOT_FOUND` when the model is not published.
        """
        return await self.call(methods.WATCH_LOC, request, deadline_seconds=deadline_seconds)

    async def join(
        self,
        address: str,
        server: m.ModelServer,
        *,
        debug_address: str = "",
        deadline_seconds: float = ADMIN_SECONDS,
    ) -> None:
        """Offer a model server to the cell; the admin dials back before it answers."""
        request = m.JoinRequest(
            address=check_address(address), debug_address=debug_address, model_server=server
        )
        await self.call(methods.JOIN, request, deadline_seconds=deadline_seconds)

    def addresses(self, model: ModelName) -> Addresses:
        """Return the replica of a model's server addresses, shared by all callers."""
        known = self._addresses.get(model)
        if known is None or known.ended:
            known = self._addresses[model] = Addresses(self, str(model))
        return known

    async def call(
        self, method: Method[Request, Reply], request: Request, *, deadline_seconds: float
    ) -> Reply:
        """Call the admin; repeated while it is busy, or after it has moved.

        Raises:
            NotFoundError: the cell does not exist or never had an admin.
            SaxError: the admin refused, or nobody answers at its address (`UNAVAILABLE`).
            DeadlineError: no answer in time.
        """
        pace = Pace(f"{method.name} in {self.name}", deadline_seconds=deadline_seconds)
        while True:
            address = await self._reach_admin(pace)
            try:
                return await self._channels.call(
                    method, address, request, pace=pace, retried=ADMIN_RETRIES
                )
            except SaxError as error:
                await pace.after(error)

    async def _reach_admin(self, pace: Pace) -> str:
        """Return an address that answers; location.proto is read again when the last does not."""
        if self._admin_address and await self._channels.reachable(self._admin_address):
            return self._admin_address
        self._admin_address = await self._locate(pace)
        if not await self._channels.reachable(self._admin_address):
            file = f"{self.root.text}/sax/{self.name.cell}/{LOCATION_FILE}"
            raise unreachable(
                f"{self._admin_address}, the address in {file}", pace.what, retryable=False
            )
        return self._admin_address

    async def _locate(self, pace: Pace) -> str:
        """Read location.proto; a root that is silent is not waited for beyond the deadline."""
        try:
            async with asyncio.timeout(pace.left_seconds):
                return await asyncio.to_thread(self.root.location, self.name)
        except TimeoutError:
            raise pace.expired() from None


class AsyncModel:
    """A published language model, served by whichever servers the admin names."""

    def __init__(self, cell: AsyncCell, name: ModelName, channels: Channels) -> None:
        self.name = name
        self._cell = cell
        self._channels = channels

    async def generate(
        self,
        text: str,
        options: ExtraInputs | None = None,
        *,
        deadline_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> tuple[Generated, ...]:
        """Return the samples for a prompt, best first.

        Args:
            options: extra inputs, for example `temperature`, `per_example_max_decode_steps`.
            deadline_seconds: for the whole call; None waits as long as the server works.
            patience_seconds: how long to go on when servers are gone, busy or still loading.

        Raises:
            SaxError: code `NOT_FOUND`: not published, or still loading; `INVALID_ARGUMENT`: an
                option the server does not know; `UNAVAILABLE`: no server.
            DeadlineError: no answer in time.
        """
        request = m.GenerateRequest(
            model_key=str(self.name),
            text=check_text(text, "prompt"),
            extra_inputs=extra_inputs(options),
        )
        reply = await self._call(methods.GENERATE, request, deadline_seconds, patience_seconds)
        return tuple(Generated(item.text, item.score) for item in reply.texts)

    async def score(
        self,
        prefix: str,
        suffixes: Sequence[str],
        options: ExtraInputs | None = None,
        *,
        deadline_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> tuple[float, ...]:
        """Return the log-probability of each suffix after the prefix; raises as `generate`."""
        request = m.ScoreRequest(
            model_key=str(self.name),
            prefix=check_text(prefix, "prefix"),
            suffix=[check_text(suffix, "suffix") for suffix in suffixes],
            extra_inputs=extra_inputs(options),
        )
        reply = await self._call(methods.SCORE, request, deadline_seconds, patience_seconds)
        return tuple(reply.logp)

    async def generate_stream(
        self,
        text: str,
        options: ExtraInputs | None = None,
        *,
        deadline_seconds: float | None = None,
        patience_seconds: float | None = None,
    ) -> AsyncGenerator[tuple[Generated, ...]]:
        """Yield all samples as they grow, each time with their whole text so far.

        Repeated as `generate` until the first reply; an error after it is final.
        """
        request = m.GenerateRequest(
            model_key=str(self.name),
            text=check_text(text, "prompt"),
            extra_inputs=extra_inputs(options),
        )
        pace = self._pace(methods.GENERATE_STREAM, deadline_seconds, patience_seconds)
        while True:
            try:
                async with aclosing(self._stream(request, pace)) as replies:
                    async for samples in replies:
                        yield samples
                return
            except SaxError as error:
                await pace.after(error)

    async def _stream(
        self, request: m.GenerateRequest, pace: Pace
    ) -> AsyncGenerator[tuple[Generated, ...]]:
        address = await self._pick(pace)
        transcript = Transcript()
        replies = self._channels.stream(
            methods.GENERATE_STREAM, address, request, pace=pace, retried=SERVER_RETRIES
        )
        async with aclosing(replies) as open_replies:
            async for reply in open_replies:
                yield transcript.extend(reply)

    async def _call(
        self,
        method: Method[Request, Reply],
        request: Request,
        deadline_seconds: float | None,
        patience_seconds: float | None,
    ) -> Reply:
        pace = self._pace(method, deadline_seconds, patience_seconds)
        while True:
            try:
                address = await self._pick(pace)
                return await self._channels.call(
                    method, address, request, pace=pace, retried=SERVER_RETRIES
                )
            except SaxError as error:
                await pace.after(error)

    async def _pick(self, pace: Pace) -> str:
        address = await self._cell.addresses(self.name).pick(pace)
        if not await self._channels.reachable(address):
            raise unreachable(address, pace.what, retryable=True)
        return address

    def _pace(
        self, method: Method[Request, Reply], deadline: float | None, patience: float | None
    ) -> Pace:
        return Pace(
            f"{method.name} of {self.name}", deadline_seconds=deadline, patience_seconds=patience
        )


class AsyncModelet:
    """The control service of one model server; the admin is its usual caller."""

    def __init__(self, address: str, channels: Channels) -> None:
        self.address = address
        self._channels = channels

    async def load(self, model: Model, *, deadline_seconds: float | None = None) -> None:
        """Have the server load a model; returns when it is loaded or has failed."""
        message = model.message()
        request = m.LoadRequest(
            model_key=message.model_id,
            model_path=message.model_path,
            checkpoint_path=message.checkpoint_path,
            acls=m.AccessControlLists(),
            overrides=message.overrides,
        )
        await self._call(methods.LOAD, request, deadline_seconds)

    async def update_loaded(
        self, model_id: str, *, deadline_seconds: float | None = ADMIN_SECONDS
    ) -> None:
        """Tell the server that a loaded model's access lists are empty (SAX knows no others)."""
        request = m.UpdateLoadedRequest(model_key=model_id, acls=m.AccessControlLists())
        await self._call(methods.UPDATE_LOADED, request, deadline_seconds)

    async def unload(self, model_id: str, *, deadline_seconds: float | None = None) -> None:
        """Have the server forget a model."""
        await self._call(methods.UNLOAD, m.UnloadRequest(model_key=model_id), deadline_seconds)

    async def get_status(
        self,
        *,
        include_failure_reasons: bool = True,
        deadline_seconds: float | None = ADMIN_SECONDS,
    ) -> tuple[ModelStatus, ...]:
        """Return the state of every model the server holds or failed to load."""
        request = m.GetStatusRequest(include_failure_reasons=include_failure_reasons)
        reply = await self._call(methods.GET_STATUS, request, deadline_seconds)
        return tuple(map(ModelStatus.from_message, reply.models))

    async def _call(
        self, method: Method[Request, Reply], request: Request, deadline_seconds: float | None
    ) -> Reply:
        pace = Pace(f"{method.name} at {self.address}", deadline_seconds=deadline_seconds)
        if not await self._channels.reachable(self.address):
            raise unreachable(self.address, method.name, retryable=True)
        return await self._channels.call(
            method, self.address, request, pace=pace, retried=NO_RETRIES
        )
