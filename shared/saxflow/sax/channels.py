"""gRPC connections to admin and model servers: dial, call, stream.

An address that does not answer is told within `DIAL_SECONDS`, whatever the call's deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from saxflow.errors import ProtocolError, SaxError
from saxflow.sax.failures import NO_RETRIES, refusal
from saxflow.sax.methods import Method
from saxflow.sax.pace import Pace

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

DIAL_SECONDS = 2.0
CLOCK_SLACK_SECONDS = 0.1
"""A server's clock may end a call this much before ours does; it is our deadline all the same."""

LONGEST_SECONDS = 1e9
"""A later deadline is none: some centuries from now gRPC's clock overflows."""

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", int(1000 * DIAL_SECONDS)),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_State = grpc.ChannelConnectivity


@dataclass(eq=False)
class _Link:
    """A channel and how many calls run on it."""

    channel: grpc.aio.Channel
    calls: int = 0


class Channels:
    """Plaintext channels by address, kept until `close`; SAX knows no other security."""

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}
        self._replaced: set[_Link] = set()

    async def close(self) -> None:
        """Close every channel; calls in flight are cancelled."""
        links = [*self._links.values(), *self._replaced]
        self._links.clear()
        self._replaced.clear()
        for link in links:
            await link.channel.close()

    async def reachable(self, address: str) -> bool:
        """Return whether a connection stands, or can be made within `DIAL_SECONDS`.

        A channel that failed before is replaced, because it would wait before it tries again.
        """
        link = self._link(address)
        if link.channel.get_state() is _State.TRANSIENT_FAILURE:
            await self._replace(address, link)
            link = self._link(address)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await _connected(link.channel)
        except TimeoutError:
            return False

    async def call(
        self,
        method: Method[Request, Reply],
        address: str,
        request: Request,
        *,
        pace: Pace,
        retried: frozenset[str],
    ) -> Reply:
        """Make one call.

        Raises:
            SaxError: the server refused; retryable as `retried` says.
            DeadlineError: the pace's deadline passed.
            ProtocolError: a reply is no such message.
        """
        async with self._using(address) as channel:
            rpc: Any = channel.unary_unary(
                method.path, request_serializer=method.request.SerializeToString
            )
            try:
                reply = await rpc(request, timeout=_timeout(pace))
            except grpc.aio.AioRpcError as error:
                raise _translated(error, method, address, pace, retried) from error
            return _parsed(reply, method, address)

    async def stream(
        self,
        method: Method[Request, Reply],
        address: str,
        request: Request,
        *,
        pace: Pace,
        retried: frozenset[str],
    ) -> AsyncGenerator[Reply]:
        """Yield the replies of one streaming call; ending the iteration early cancels it.

        Raises:
            SaxError: the server refused; retryable only before the first reply.
            DeadlineError: the pace's deadline passed.
            ProtocolError: a reply is no such message.
        """
        async with self._using(address) as channel:
            rpc: Any = channel.unary_stream(
                method.path, request_serializer=method.request.SerializeToString
            )
            call = rpc(request, timeout=_timeout(pace))
            codes = retried
            try:
                async for reply in call:
                    codes = NO_RETRIES
                    yield _parsed(reply, method, address)
            except grpc.aio.AioRpcError as error:
                raise _translated(error, method, address, pace, codes) from error
            finally:
                call.cancel()

    def _link(self, address: str) -> _Link:
        if address not in self._links:
            channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
            self._links[address] = _Link(channel)
        return self._links[address]

    @asynccontextmanager
    async def _using(self, address: str) -> AsyncGenerator[grpc.aio.Channel]:
        link = self._link(address)
        link.calls += 1
        try:
            yield link.channel
        finally:
            link.calls -= 1
            await self._close_if_done(link)

    async def _replace(self, address: str, link: _Link) -> None:
        """Give the address to a new channel; calls that still run on the old one may end."""
        del self._links[address]
        self._replaced.add(link)
        await self._close_if_done(link)

    async def _close_if_done(self, link: _Link) -> None:
        if link in self._replaced and link.calls == 0:
            self._replaced.discard(link)
            await link.channel.close()


async def _connected(channel: grpc.aio.Channel) -> bool:
    state = channel.get_state(try_to_connect=True)
    while state is not _State.READY:
        if state in (_State.TRANSIENT_FAILURE, _State.SHUTDOWN):
            return False
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
    return True


def _timeout(pace: Pace) -> float | None:
    """Return the seconds that gRPC may take, None without a limit."""
    left = pace.left_seconds
    return left if left is not None and left < LONGEST_SECONDS else None


def _parsed(data: bytes, method: Method[Any, Reply], address: str) -> Reply:
    """Read a reply here, because gRPC would log one that it cannot read and go on with None."""
    try:
        return method.reply.FromString(data)
    except DecodeError as error:
        raise ProtocolError(
            f"{method.name} at {address} answered what is no {method.reply.DESCRIPTOR.full_name};"
            " is a SAX server there?"
        ) from error


def _translated(
    error: grpc.aio.AioRpcError,
    method: Method[Any, Any],
    address: str,
    pace: Pace,
    retried: frozenset[str],
) -> Exception:
    code = error.code().name
    left = pace.left_seconds
    if code == "DEADLINE_EXCEEDED" and left is not None and left <= CLOCK_SLACK_SECONDS:
        return pace.expired()
    where = f"{method.name} at {address}"
    return refusal(code, error.details() or "", where=where, retried=retried)


def unreachable(address: str, what: str, *, retryable: bool) -> SaxError:
    """Return the exception for an address nobody answers at."""
    return SaxError(f"{what}: nobody answers at {address}", code="UNAVAILABLE", retryable=retryable)
