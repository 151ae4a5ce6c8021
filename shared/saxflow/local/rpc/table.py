"""Read a service's methods off Google's own client library.

No servicer stubs ship for these APIs, but each client's gRPC transport knows every path and message
type: it is built over a channel that only records. The REST routes come from the same library's
`rest_base` module; Executions has none, so its four routes are written down here.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
from google.auth.credentials import AnonymousCredentials

HttpOptions = tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class Api:
    """Where one gAPIC service lives in its client library.

    Args:
        name: short, as errors and faults name it.
        transports: the module with the service's transports.
        service: the service's name in those modules, for example `BatchService`.
        routes: REST routes by method, for services whose client has none.
    """

    name: str
    transports: str
    service: str
    routes: Mapping[str, HttpOptions] = field(default_factory=dict[str, HttpOptions])


@dataclass(frozen=True)
class Method:
    """One RPC.

    Args:
        name: snake_case, the name of the Python method that serves it.
        path: gRPC path, `/package.Service/Method`.
        request: message class, proto-plus or plain.
        streaming: requests and responses are streams.
        routes: REST routes, each `method`, `uri` and perhaps `body`.
    """

    name: str
    path: str
    request: Any
    streaming: bool
    routes: HttpOptions = ()


_EXECUTION = "{name=projects/*/locations/*/workflows/*/executions/*}"
_WORKFLOW = "{parent=projects/*/locations/*/workflows/*}"
_EXECUTION_ROUTES: dict[str, HttpOptions] = {
    "CreateExecution": (
        {"method": "post", "uri": f"/v1/{_WORKFLOW}/executions", "body": "execution"},
    ),
    "ListExecutions": ({"method": "get", "uri": f"/v1/{_WORKFLOW}/executions"},),
    "GetExecution": ({"method": "get", "uri": f"/v1/{_EXECUTION}"},),
    "CancelExecution": ({"method": "post", "uri": f"/v1/{_EXECUTION}:cancel", "body": "*"},),
}

BATCH = Api("batch", "google.cloud.batch_v1.services.batch_service.transports", "BatchService")
TPU = Api("tpu", "google.cloud.tpu_v2.services.tpu.transports", "Tpu")
WORKFLOWS = Api("workflows", "google.cloud.workflows_v1.services.workflows.transports", "Workflows")
EXECUTIONS = Api(
    "executions",
    "google.cloud.workflows.executions_v1.services.executions.transports",
    "Executions",
    _EXECUTION_ROUTES,
)
PUBLISHER = Api("pubsub", "google.pubsub_v1.services.publisher.transports", "Publisher")
SUBSCRIBER = Api("pubsub", "google.pubsub_v1.services.subscriber.transports", "Subscriber")


def methods_of(api: Api) -> tuple[Method, ...]:
    """Return every RPC of a service, with types and routes."""
    module = importlib.import_module(f"{api.transports}.grpc")
    channel = _Recorder()
    transport = getattr(module, f"{api.service}GrpcTransport")
    # Transports wrap their channel in a logging interceptor, which would hide the types from it.
    unwrapped = property(lambda _: channel, lambda _, wrapped: None)
    type("Recorded", (transport,), {"_logged_channel": unwrapped})(
        channel=channel, credentials=AnonymousCredentials()
    )
    routes = dict(api.routes) or _rest_routes(api)
    return tuple(
        Method(_snake(name), path, request, streaming, routes.get(name, ()))
        for path, (request, streaming) in channel.recorded.items()
        if (name := path.rpartition("/")[2])
    )


def _rest_routes(api: Api) -> dict[str, HttpOptions]:
    module = importlib.import_module(f"{api.transports}.rest_base")
    base = getattr(module, f"_Base{api.service}RestTransport")
    found: dict[str, HttpOptions] = {}
    for attribute, stub in vars(base).items():
        options = getattr(stub, "_get_http_options", None)
        if attribute.startswith("_Base") and options is not None:
            found[attribute.removeprefix("_Base")] = tuple(options())
    return found


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class _Recorder(grpc.Channel):
    """A channel that writes down what a transport asks of it."""

    def __init__(self) -> None:
        self.recorded: dict[str, tuple[Any, bool]] = {}

    def _record(self, path: str, serializer: Any, *, streaming: bool) -> Callable[..., Any]:
        request = getattr(serializer, "__self__", None)
        if request is not None:
            self.recorded[path] = (request, streaming)
        return _never_called

    def unary_unary(self, method: str, request_serializer: Any = None, *_: Any, **__: Any) -> Any:
        return self._record(method, request_serializer, streaming=False)

    def stream_stream(self, method: str, request_serializer: Any = None, *_: Any, **__: Any) -> Any:
        return self._record(method, request_serializer, streaming=True)

    unary_stream = stream_unary = cast(Any, unary_unary)

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        callback(grpc.ChannelConnectivity.IDLE)

    def unsubscribe(self, callback: Any) -> None:
        del callback

    def close(self) -> None:
        self.recorded.clear()

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _never_called(*_: Any, **__: Any) -> Any:
    raise AssertionError("a recording channel was called")
