"""Callback endpoints: URLs that an Execution opens and waits at.

One request is kept per endpoint until it is taken; another meanwhile gets 429, and 404 once the
Execution has ended.

Source: https://cloud.google.com/workflows/docs/creating-callback-endpoints
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from saxflow.local.clock import Clock
from saxflow.local.http import Request, Response, json_response
from saxflow.local.workflows.failures import Value, WorkflowFailure, value_error
from saxflow.local.workflows.runtime import Cancellation
from saxflow.local.workflows.stdlib.encoding import FUNCTIONS as ENCODING
from saxflow.local.workflows.values import from_json

MOUNT = "/workflow-callbacks"


@dataclass
class _Endpoint:
    method: str
    received: Value | None = None
    woken: threading.Event = field(default_factory=threading.Event)


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
            self._endpoints[url.rpartition("/")[2]] = _Endpoint(method)
        return url

    def wait(self, url: str, timeout_seconds: float, cancellation: Cancellation) -> Value | None:
        """Return the request that came in, None when the time is over.

        Raises:
            WorkflowFailure: ValueError, the endpoint is another Execution's.
            Cancelled: the Execution was cancelled.
        """
        with self._lock:
            endpoint = self._endpoints.get(url.rpartition("/")[2])
            if endpoint is None or self.execution not in url:
                raise value_error(f"callback {url!r} was not created by this execution")
            if endpoint.received is None:
                endpoint.woken.clear()
        with cancellation.breaking(endpoint.woken.set):
            if not endpoint.woken.is_set():
                self.clock.sleep(timeout_seconds, endpoint.woken)
        with self._lock:
            received, endpoint.received = endpoint.received, None
            return received

    def deliver(self, callback: str, request: Request) -> Response:
        """Take a request for an endpoint: 200, 404, 405 or 429."""
        with self._lock:
            endpoint = self._endpoints.get(callback)
            if endpoint is None:
                return _refusal(404, "callback not found")
            if request.method != endpoint.method:
                return _refusal(405, f"this callback takes {endpoint.method}")
            if endpoint.received is not None:
                return _refusal(429, "an earlier callback has not been taken yet; try again")
            endpoint.received = self._received(callback, request)
            endpoint.woken.set()
        return json_response(200, {})

    def _received(self, callback: str, request: Request) -> Value:
        headers = {name.title(): value for name, value in request.headers.items()}
        body = request.body.read()
        return {
            "http_request": {
                "body": _decoded(body, request.headers.get("Content-Type") or ""),
                "headers": headers,
                "method": request.method,
                "query": {name: values[-1] for name, values in request.query.items()},
                "url": f"/v1/{self.execution}/callbacks/{callback}",
            },
            "received_time": ENCODING["time.format"].apply(self.clock.time()),
            "type": "HTTP",
        }


def _refusal(status: int, message: str) -> Response:
    return json_response(status, {"error": {"code": status, "message": message}})


def _decoded(body: bytes, kind: str) -> Value:
    if kind.startswith("application/json"):
        try:
            return from_json(body)
        except WorkflowFailure:
            return body.decode("utf-8", "replace")
    return body.decode("utf-8", "replace") if kind.startswith("text/") else body
