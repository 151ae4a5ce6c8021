"""SAX's methods behind a gRPC server on the test's own event loop, and calls of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from saxflow.cell.admin import Admin
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.methods import Method


@asynccontextmanager
async def listening(
    behaviors: Mapping[Method[Any, Any], Callable[..., Any]],
    *,
    grace_seconds: float | None = None,
) -> AsyncGenerator[str]:
    """Serve on a free port; yield the address; at the end, give calls under way this long."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace_seconds)


@asynccontextmanager
async def admin_channel(admin: Admin) -> AsyncGenerator[grpc.aio.Channel]:
    """Run an admin server; yield a channel to it."""
    work = asyncio.create_task(admin.run())
    async with listening(admin.behaviors()) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel
        work.cancel()
        await asyncio.wait([work])


async def call(channel: grpc.aio.Channel, method: Method[Any, Any], request: Any) -> Any:
    """Return the reply to one request, which may be given as bytes."""
    rpc = channel.unary_unary(
        method.path,
        request_serializer=lambda data: (
            data if isinstance(data, bytes) else data.SerializeToString()
        ),
        response_deserializer=method.reply.FromString,
    )
    return await rpc(request, timeout=20)
