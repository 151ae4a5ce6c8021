"""gRPC connections to admin and model servers: dial, call, stream.

An address that does not answer is told within `DIAL_SECONDS`, whatever the call's deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from saxflow.errors import SaxError
from saxflow.sax.failures import refusal
from saxflow.sax.methods import Method
from saxflow.sax.pace import Pace

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)

DIAL_SECONDS = 2.0
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


class Channels:
    """One plaintext channel per address, kept until `close`; SAX knows no other security."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Close every channel; calls in flight are cancelled."""
        while self._channels:
            _, channel = self._channels.popitem()
            await channel.close()

    async def reachable(self, address: str) -> bool:
        """Return whether a connection stands, or can be made within `DIAL_SECONDS`."""
        channel = self._channel(address)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                return await _connected(channel)
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
        """
        rpc: Any = self._channel(address).unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        try:
            return await rpc(request, timeout=pace.left_seconds)
        except grpc.aio.AioRpcError as error:
            raise _translated(error, method, address, pace, retried) from error

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
        """
        rpc: Any = self._channel(address).unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.reply.FromString,
        )
        call = rpc(request, timeout=pace.left_seconds)
        started = False
        try:
            async for reply in call:
                started = True
                yield reply
        except grpc.aio.AioRpcError as error:
            codes = frozenset[str]() if started else retried
            raise _translated(error, method, address, pace, codes) from error
        finally:
            call.cancel()

    def _channel(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            self._channels[address] = grpc.aio.insecure_channel(address, options=_OPTIONS)
        return self._channels[address]


async def _connected(channel: grpc.aio.Channel) -> bool:
    """Return the outcome of the first attempt that ends from now on; an old failure is no answer."""
    state = channel.get_state(try_to_connect=True)
    stale = state is _State.TRANSIENT_FAILURE
    while state is not _State.READY:
        if state is _State.SHUTDOWN or (state is _State.TRANSIENT_FAILURE and not stale):
            return False
        await channel.wait_for_state_change(state)
        stale = False
        state = channel.get_state(try_to_connect=True)
    return True


def _translated(
    error: grpc.aio.AioRpcError,
    method: Method[Any, Any],
    address: str,
    pace: Pace,
    retried: frozenset[str],
) -> Exception:
    code = error.code().name
    left = pace.left_seconds
    if code == "DEADLINE_EXCEEDED" and left is not None and left <= 0:
        return pace.expired()
    where = f"{method.name} at {address}"
    return refusal(code, error.details() or "", where=where, retried=retried)


def unreachable(address: str, what: str, *, retryable: bool) -> SaxError:
    """Return the exception for an address nobody answers at."""
    return SaxError(f"{what}: nobody answers at {address}", code="UNAVAILABLE", retryable=retryable)
