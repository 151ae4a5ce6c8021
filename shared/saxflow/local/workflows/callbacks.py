"""Callback endpoints: URLs that an Execution opens and waits at.

A request goes to who waits longest. While nobody waits one is kept per endpoint; another meanwhile gets
429, and 404 once the Execution has ended.

Source: https://cloud.google.com/workflows/docs/creating-callback-endpoints
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from saxflow.local.clock import Clock
from saxflow.local.http import Request, Response, json_response
from saxflow.local.workflows.bodies import decode_body
from saxflow.local.workflows.failures import Value, value_error
from saxflow.local.workflows.runtime import Cancellation
from saxflow.local.workflows.stdlib.encoding import format_time

MOUNT = "/workflow-callbacks"


@dataclass(eq=False)
class _Wait:
    """One `await_callback` under way."""

    received: Value | None = None
    woken: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Endpoint:
    url: str
    method: str
    kept: Value | None = None
    waits: list[_Wait] = field(default_factory=list[_Wait])


@dataclass
class ExecutionCallbacks:
    """Endpoints of one Execution.

    Args:
        execution: its full name.
        root: returns the URL below which requests come in.
        clock: measures the waiting.
    """

    execution: str
    root: Callable[[], str]
    clock: Clock
    _endpoints: dict[str, _Endpoint] = field(default_factory=dict[str, _Endpoint])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, method: str) -> str:
        """Open an endpoint for an HTTP method and return its URL."""
        url = f"{self.root()}{MOUNT}/v1/{self.execution}/callbacks/{uuid.uuid4()}"
        with self._lock:
            self._endpoints[_id(url)] = _Endpoint(url, method)
        return url

    def wait(self, url: str, timeout_seconds: float, cancellation: Cancellation) -> Value | None:
        """Return the request that came in, None when the time is over.

        Raises:
            WorkflowFailure: ValueError, the endpoint is another Execution's.
            Cancelled: the Execution was cancelled.
        """
        endpoint = self._endpoint(url)
        wait = _Wait()
        with self._lock:
            if endpoint.kept is not None:
                kept, endpoint.kept = endpoint.kept, None
                return kept
            endpoint.waits.append(wait)
        try:
            with cancellation.breaking(wait.woken.set):
                self.clock.sleep(timeout_seconds, wait.woken)
        finally:
            with self._lock:
                if wait in endpoint.waits:
                    endpoint.waits.remove(wait)
        return wait.received

    def deliver(self, callback: str, request: Request) -> Response:
        """Take a request for an endpoint: 200, 404, 405 or 429."""
        received = self._received(callback, request)
        with self._lock:
            endpoint = self._endpoints.get(callback)
            if endpoint is None:
                return _refusal(404, "callback not found")
            if request.method != endpoint.method:
                return _refusal(405, f"this callback takes {endpoint.method}")
            if endpoint.kept is not None:
                return _refusal(429, "an earlier callback has not been taken yet; try again")
            if endpoint.waits:
                wait = endpoint.waits.pop(0)
                wait.received = received
                wait.woken.set()
            else:
                endpoint.kept = received
        return json_response(200, {})

    def _endpoint(self, url: str) -> _Endpoint:
        with self._lock:
            endpoint = self._endpoints.get(_id(url))
        if endpoint is None or endpoint.url != url:
            raise value_error(
                f"callback {url!r} was not created by this execution; await a url that"
                " events.create_callback_endpoint gave it"
            )
        return endpoint

    def _received(self, callback: str, request: Request) -> Value:
        headers = {name.title(): value for name, value in request.headers.items()}
        body, kind = request.body.read(), request.headers.get("Content-Type") or ""
        return {
            "http_request": {
                "body": decode_body(body, kind) if body else None,
                "headers": headers,
                "method": request.method,
                "query": {name: values[-1] for name, values in request.query.items()},
                "url": f"/v1/{self.execution}/callbacks/{callback}",
            },
            "received_time": format_time(self.clock.time()),
            "type": "HTTP",
        }


def _id(url: str) -> str:
    return url.rpartition("/")[2]


def _refusal(status: int, message: str) -> Response:
    return json_response(status, {"error": {"code": status, "message": message}})
