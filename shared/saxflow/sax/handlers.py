"""Serve SAX's methods over gRPC: the server side of `methods`.

Both the local cell and a test's peer hand over plain functions; sync ones serve `grpc.server`,
async ones `grpc.aio.server`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc

from saxflow.sax.methods import Method

Behavior = Callable[[Any, Any], Any]
"""`(request, context) -> reply`, or an iterator of replies when the method streams."""


def generic_handlers(
    behaviors: Mapping[Method[Any, Any], Behavior],
) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return one handler per service, for `server.add_generic_rpc_handlers`.

    A method that is not given answers UNIMPLEMENTED, as gRPC does.
    """
    services: dict[str, dict[str, Any]] = {}
    for method, behavior in behaviors.items():
        services.setdefault(method.service, {})[method.name] = _handler(method, behavior)
    return tuple(
        grpc.method_handlers_generic_handler(service, handlers)
        for service, handlers in services.items()
    )


def _handler(method: Method[Any, Any], behavior: Behavior) -> Any:
    make = (
        grpc.unary_stream_rpc_method_handler
        if method.streams
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        behavior,
        request_deserializer=method.request.FromString,
        response_serializer=method.reply.SerializeToString,
    )
