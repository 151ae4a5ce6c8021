"""The ASGI application: routes behind a guard, every request counted, cells closed at the end."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saxflow.errors import RequestError
from saxflow.pipeline.services import Services, services
from saxflow.serving.access import admit, check_exposure, socket_address
from saxflow.serving.api import Api, exception_handlers, on_refusal
from saxflow.serving.backends import Backends
from saxflow.serving.deployments import Deployments
from saxflow.serving.failures import CLIENT_GONE
from saxflow.serving.metrics import Metrics
from saxflow.settings import ServingSettings, load_serving_settings


def application(
    settings: ServingSettings | None = None, wiring: Callable[[], Services] = services
) -> Starlette:
    """Return the application; the installation's settings are read when it starts.

    Args:
        settings: the server's own settings; read from the environment when None.
        wiring: the installation's services.

    Raises:
        ConfigurationError: when it starts: a setting is missing, or nobody guards the address.
    """
    serving = settings or load_serving_settings()
    deployments = Deployments(wiring, believe_seconds=serving.head_seconds)
    backends = Backends(deployments, patience_seconds=serving.patience_seconds)
    api = Api(backends, serving)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        check_exposure(serving)
        wiring()
        try:
            yield
        finally:
            await backends.close()

    paths = frozenset(route.path for route in api.routes())
    return Starlette(
        routes=api.routes(),
        middleware=[
            Middleware(Count, metrics=api.metrics, paths=paths),
            Middleware(Guard, settings=serving),
        ],
        exception_handlers=exception_handlers(),
        lifespan=lifespan,
    )


class Guard:
    """Lets pass whom `access.admit` admits."""

    def __init__(self, app: ASGIApp, settings: ServingSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or hand the request on."""
        app = self._app
        if scope["type"] == "http":
            app = await self._judge(scope) or app
        await app(scope, receive, send)

    async def _judge(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        try:
            admit(
                self._settings,
                path=scope["path"],
                authorization=headers.get("authorization", ""),
                host=headers.get("host", ""),
                reached_at=socket_address(scope.get("server")),
            )
        except RequestError as error:
            return await on_refusal(Request(scope), error)
        return None


class Count:
    """Counts every request under its route; unknown paths share one name."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = CLIENT_GONE

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._metrics.answered(self._route(scope["path"]), status, time.monotonic() - started)

    def _route(self, path: str) -> str:
        if path.startswith("/v1/models/"):
            return "/v1/models/{name}"
        return path if path in self._paths else "other"
