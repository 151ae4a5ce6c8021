"""One gRPC server and one REST handler for any number of services, over the same Python classes.

A service class has one method per RPC, in snake_case: it takes the request message, returns the
response message and raises `google.api_core.exceptions`. What it lacks is UNIMPLEMENTED. Faults
(`saxflow.local.faults`) are applied here, so every service has them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.api_core import exceptions
from google.longrunning import operations_pb2

from saxflow.errors import ConfigurationError
from saxflow.local.faults import Fault, Faults
from saxflow.local.http import (
    LOOPBACK,
    BadBody,
    Dropped,
    Handler,
    Request,
    Response,
    json_response,
)
from saxflow.local.rpc.operations import Operations, plain
from saxflow.local.rpc.status import (
    as_api_error,
    error_json,
    error_of,
    grpc_code,
    http_status,
    status_message,
)
from saxflow.local.rpc.table import Api, HttpOptions, Method, methods_of
from saxflow.local.rpc.transcode import Route, decode_request, encode_response, parse_route

_LOG = logging.getLogger(__name__)
_WORKERS = 256
_MESSAGE_LIMIT_BYTES = 1500
_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 64 << 20))

_OPERATION = "{name=projects/*/locations/*/operations/*}"
_OPERATION_ROUTES: dict[str, tuple[tuple[str, str], ...]] = {
    "GetOperation": (("get", _OPERATION),),
    "CancelOperation": (("post", f"{_OPERATION}:cancel"),),
    "DeleteOperation": (("delete", _OPERATION),),
    "ListOperations": (("get", "{name=projects/*/locations/*}/operations"),),
    "WaitOperation": (),
}


@dataclass(frozen=True)
class Hosted:
    """A service class that serves an API."""

    api: Api
    implementation: Any


@dataclass(frozen=True)
class _Bound:
    """An RPC together with the function that serves it."""

    service: str
    method: Method
    call: Callable[[Any], Any]


class GrpcServer:
    """Serve APIs on one plaintext gRPC port.

    Args:
        port: 0 picks a free one.

    Raises:
        ConfigurationError: the port is taken.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        *,
        faults: Faults,
        operations: Operations,
        port: int = 0,
    ) -> None:
        self._stopping = threading.Event()
        self._started = False
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="grpc")
        self._server = grpc.server(self._pool, options=_OPTIONS)
        bound = _bound_methods(hosted, operations)
        table = {each.method.path: _grpc_handler(each, faults, self._stopping) for each in bound}
        self._server.add_generic_rpc_handlers((_Handlers(table),))
        self.port = self._bind(port)

    @property
    def target(self) -> str:
        """host:port, as clients take it."""
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Begin to answer."""
        self._started = True
        self._server.start()

    def stop(self) -> None:
        """End every call and release the port."""
        self._stopping.set()
        if not self._started:
            self.start()  # gRPC lets a port go only when it stops what it has started
        self._server.stop(grace=None).wait()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _bind(self, port: int) -> int:
        try:
            return self._server.add_insecure_port(f"{LOOPBACK}:{port}")
        except RuntimeError as error:
            raise ConfigurationError(
                f"port {port} on {LOOPBACK} is taken; choose another"
            ) from error


class RestApi:
    """The REST faces of APIs as one HTTP handler.

    Args:
        mounts: other handlers by path prefix.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        *,
        faults: Faults,
        operations: Operations,
        mounts: Mapping[str, Handler] | None = None,
    ) -> None:
        self._faults = faults
        self._mounts = dict(mounts or {})
        self._stopping = threading.Event()
        routed = [
            (parse_route(option), bound)
            for bound in _bound_methods(hosted, operations)
            for option in bound.method.routes
        ]
        self._routes = sorted(routed, key=lambda pair: not pair[0].has_verb_suffix)

    def stop(self) -> None:
        """End scripted silences."""
        self._stopping.set()

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        for prefix, handler in self._mounts.items():
            if request.path.startswith(prefix):
                return handler(request)
        for route, bound in self._routes:
            match = route.pattern.fullmatch(request.path)
            if match and route.verb == request.method:
                return self._call(request, route, bound, match.groups())
        error = exceptions.NotFound(f"{request.method} {request.path}: no such method or resource")
        return json_response(404, error_json(error))

    def _call(
        self, request: Request, route: Route, bound: _Bound, values: tuple[str, ...]
    ) -> Response:
        try:
            message = decode_request(
                bound.method.request, route, values, request.query, request.body.read()
            )
            fault = self._faults.take(bound.service, bound.method.name, lambda: str(message))
            _before_rest(fault, self._stopping)
            result = bound.call(message)
        except (Dropped, BadBody):
            raise
        except Exception as error:  # noqa: BLE001  # outermost loop of a request
            known = _logged(bound, error)
            return json_response(http_status(known), error_json(known))
        return _after_rest(fault, result, request)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._table.get(handler_call_details.method)


def _bound_methods(hosted: Sequence[Hosted], operations: Operations) -> list[_Bound]:
    bound = [
        _Bound(each.api.name, method, _callable(each.implementation, method.name))
        for each in hosted
        for method in methods_of(each.api)
    ]
    return bound + [
        _Bound("operations", method, getattr(operations, method.name))
        for method in _operation_methods()
    ]


def _operation_methods() -> list[Method]:
    methods: list[Method] = []
    for name, routes in _OPERATION_ROUTES.items():
        options: HttpOptions = tuple(
            {"method": verb, "uri": f"/{version}/{uri}"}
            for version in ("v1", "v2")
            for verb, uri in routes
        )
        snake = name.replace("Operation", "_operation").lower()
        request = getattr(operations_pb2, f"{name}Request")
        path = f"/google.longrunning.Operations/{name}"
        methods.append(Method(snake, path, request, False, options))
    return methods


def _callable(implementation: Any, name: str) -> Callable[[Any], Any]:
    found = getattr(implementation, name, None)
    if callable(found):
        return found

    def lacking(request: Any) -> NoReturn:
        del request
        raise exceptions.MethodNotImplemented(f"{name} is not part of the embedded cloud")

    return lacking


def _grpc_handler(bound: _Bound, faults: Faults, stopping: threading.Event) -> Any:
    decode, encode = _decoder(bound.method.request), _encode

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            fault = faults.take(bound.service, bound.method.name, lambda: str(request))
            _before_grpc(fault, stopping)
            response = bound.call(request)
            _after_grpc(fault)
        except Exception as error:  # noqa: BLE001  # outermost loop of a request
            _abort(context, _logged(bound, error))
        else:
            return response

    def stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            _before_grpc(faults.take(bound.service, bound.method.name), stopping)
            yield from bound.call(_Stream(requests, context, stopping))
        except Exception as error:  # noqa: BLE001  # outermost loop of a request
            _abort(context, _logged(bound, error))

    if bound.method.streaming:
        return grpc.stream_stream_rpc_method_handler(stream, decode, encode)
    return grpc.unary_unary_rpc_method_handler(unary, decode, encode)


class _Stream:
    """The requests of a streaming RPC, with what its server must know of the call."""

    def __init__(
        self, requests: Iterator[Any], context: grpc.ServicerContext, stopping: threading.Event
    ) -> None:
        self._requests = requests
        self._context = context
        self._stopping = stopping

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._requests
        except grpc.RpcError:
            return  # the peer went away, which ends its requests like any other end

    def is_active(self) -> bool:
        """Return whether the peer still listens and the server still runs."""
        return self._context.is_active() and not self._stopping.is_set()

    def on_end(self, callback: Callable[[], None]) -> bool:
        """Call back when the call ends; False when it already has."""
        return self._context.add_callback(callback)


def _decoder(message_type: Any) -> Callable[[bytes], Any]:
    return getattr(message_type, "deserialize", None) or message_type.FromString


def _encode(message: Any) -> bytes:
    return plain(message).SerializeToString()


def _logged(bound: _Bound, error: Exception) -> exceptions.GoogleAPICallError:
    if not isinstance(error, exceptions.GoogleAPICallError):
        _LOG.error("%s.%s failed", bound.service, bound.method.name, exc_info=error)
    return as_api_error(error)


def _abort(context: grpc.ServicerContext, error: exceptions.GoogleAPICallError) -> NoReturn:
    status = status_message(error)
    status.message = _short(status.message)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc_code(error), status.message)
    raise AssertionError("abort returned")


def _short(message: str) -> str:
    """Cut a message that headers have no room for: it travels in two of them, once escaped."""
    kept = message.encode()[:_MESSAGE_LIMIT_BYTES].decode(errors="ignore")
    return message if kept == message else f"{kept}..."


def _before_grpc(fault: Fault | None, stopping: threading.Event) -> None:
    if fault is None or fault.kind == "lost":
        return
    if fault.kind == "return":
        raise error_of(fault.status, f"scripted fault {fault.action}")
    if fault.kind == "stall":
        stopping.wait(fault.stall_seconds)
    raise exceptions.ServiceUnavailable(f"scripted fault {fault.action}")


def _after_grpc(fault: Fault | None) -> None:
    if fault is not None:
        raise exceptions.DeadlineExceeded(f"scripted fault {fault.action}")


def _before_rest(fault: Fault | None, stopping: threading.Event) -> None:
    if fault is None or fault.kind in ("lost", "broken-stream", "corrupted-data"):
        return
    if fault.kind == "return":
        raise error_of(fault.status, f"scripted fault {fault.action}")
    if fault.kind == "stall":
        stopping.wait(fault.stall_seconds)
    raise Dropped(reset=fault.kind == "reset-connection")


def _after_rest(fault: Fault | None, result: Any, request: Request) -> Response:
    integers = any("enum-encoding=int" in text for text in request.query.get("$alt", []))
    body = encode_response(result, integer_enums=integers)
    response = Response(200, {"Content-Type": "application/json; charset=UTF-8"}, body)
    if fault is None:
        return response
    if fault.kind == "lost":
        raise Dropped
    if fault.kind == "corrupted-data":
        response.body = b"\x00" + body[1:]
    else:
        response.cut_after_bytes = len(body) // 2
    return response
