"""`http.*`: real requests over kept-alive connections, answers decoded as the service does it.

A non-2xx answer is an HttpError, a peer that cannot be reached a ConnectionFailedError, one that
breaks off a ConnectionError, one that is late a TimeoutError: maps that a workflow can catch.

Source: https://cloud.google.com/workflows/docs/http-requests,
https://cloud.google.com/workflows/docs/reference/stdlib/http/request
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from saxflow.local.workflows.failures import (
    Value,
    WorkflowFailure,
    failure,
    resource_limit,
    type_error,
    value_error,
)
from saxflow.local.workflows.stdlib.signature import expect, expect_number
from saxflow.local.workflows.values import from_json, text_of, to_json, type_name

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
DEFAULT_TIMEOUT_SECONDS = 300.0
TIMEOUT_LIMIT_SECONDS = 1800.0
RESPONSE_LIMIT_BYTES = 2 * 1024 * 1024
USER_AGENT = "GoogleCloudWorkflows; (+https://cloud.google.com/workflows/docs)"

_REQUEST_METHODS = (*HTTP_METHODS, "HEAD", "OPTIONS", "TRACE", "CONNECT")
_REDIRECTS = {301: "GET", 302: "GET", 303: "GET", 307: None, 308: None}
_REDIRECT_LIMIT = 10
_CHUNK_BYTES = 64 * 1024
_AUTH_TYPES = frozenset({"OAuth2", "OIDC"})


@dataclass(frozen=True)
class HttpRequest:
    """A request, ready to be sent.

    Args:
        url: absolute, with its query.
        auth: None, `OAuth2` or `OIDC`.
        timeout_seconds: for the request as a whole.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    auth: str | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS


class Breakable(Protocol):
    """What can break a request off; `runtime.Cancellation` is one."""

    def breaking(self, close: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `close` if the Execution is cancelled while the block runs."""
        ...


def read_request(method: Value, arguments: Mapping[str, Value]) -> HttpRequest:
    """Build a request from the arguments of an `http.*` call.

    Raises:
        WorkflowFailure: TypeError or ValueError, an argument cannot be used.
    """
    verb = expect(method, str, "method").upper()
    if verb not in _REQUEST_METHODS:
        raise value_error(f"method {verb!r} is unknown; use one of {', '.join(_REQUEST_METHODS)}")
    headers = _headers(arguments.get("headers"))
    body = _body(arguments.get("body"), headers)
    return HttpRequest(
        method=verb,
        url=_url(arguments["url"], arguments.get("query")),
        headers=headers,
        body=body,
        auth=_auth(arguments.get("auth")),
        timeout_seconds=_timeout(arguments.get("timeout")),
    )


def _url(url: Value, query: Value) -> str:
    text = expect(url, str, "url")
    parts = _split(text)
    fields = {} if query is None else expect(query, dict, "query")
    pairs = [pair for name, value in fields.items() for pair in _pairs(name, value)]
    if not pairs:
        return text
    return f"{text}{'&' if parts.query else '?'}{urlencode(pairs, quote_via=quote)}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise value_error(f"url {url[:200]!r}: {error}") from None
    if not usable:
        raise value_error(f"url {url[:200]!r} must start with http:// or https:// and name a host")
    return parts


def _pairs(name: str, value: Value) -> list[tuple[str, str]]:
    values = value if isinstance(value, list) else [value]
    return [(name, text_of(item)) for item in values if item is not None]


def _headers(value: Value) -> dict[str, str]:
    given = {} if value is None else expect(value, dict, "headers")
    headers = {name: text_of(item) for name, item in given.items() if item is not None}
    agent = next((name for name in headers if name.lower() == "user-agent"), "User-Agent")
    headers[agent] = f"{headers.get(agent, '')} {USER_AGENT}".strip()
    return headers


def _body(body: Value, headers: dict[str, str]) -> bytes | None:
    if body is None:
        return None
    kind = next((v for k, v in headers.items() if k.lower() == "content-type"), None)
    if kind is None:
        binary = isinstance(body, bytes)
        kind = "application/octet-stream" if binary else "application/json; charset=utf-8"
        headers["Content-Type"] = kind
    if isinstance(body, bytes):
        return body
    if _is_json(kind):
        return to_json(body).encode()
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, dict) and "x-www-form-urlencoded" in kind:
        return urlencode({k: text_of(v) for k, v in body.items()}).encode()
    raise type_error(f"a body of type {type_name(body)} cannot be sent as {kind}")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _auth(value: Value) -> str | None:
    if value is None:
        return None
    kind = expect(value, dict, "auth").get("type")
    if kind not in _AUTH_TYPES:
        raise value_error(f"auth.type is {kind!r}; use OAuth2 or OIDC")
    return str(kind)


def _timeout(value: Value) -> float:
    if value is None:
        return DEFAULT_TIMEOUT_SECONDS
    seconds = float(expect_number(value, "timeout"))
    if not 0 < seconds <= TIMEOUT_LIMIT_SECONDS:
        raise value_error(f"timeout of {seconds} s; more than 0, up to {TIMEOUT_LIMIT_SECONDS:g}")
    return seconds


class HttpClient:
    """Sends requests; one may serve many Executions at once.

    Args:
        hosts: roots to replace, for example
            `{"https://pubsub.googleapis.com": "http://127.0.0.1:8085"}`.
        tokens: value of the bearer token per auth type.
    """

    def __init__(
        self, hosts: Mapping[str, str] | None = None, tokens: Mapping[str, str] | None = None
    ) -> None:
        self._hosts = {root.rstrip("/"): local.rstrip("/") for root, local in (hosts or {}).items()}
        self._tokens = tokens or {"OAuth2": "local-access-token", "OIDC": "local-identity-token"}
        self._pool = _Pool()

    def close(self) -> None:
        """Close every idle connection."""
        self._pool.close()

    def send(self, request: HttpRequest, cancellation: Breakable) -> Value:
        """Send a request and return `{code, headers, body}`.

        Raises:
            WorkflowFailure: HttpError, ConnectionFailedError, ConnectionError, TimeoutError or
                ResourceLimitError.
            Cancelled: the Execution was cancelled meanwhile.
        """
        deadline = time.monotonic() + request.timeout_seconds
        url, method = request.url, request.method
        for _ in range(_REDIRECT_LIMIT):
            answer = self._exchange(request, method, self._local(url), deadline, cancellation)
            location = answer.headers.get("location")
            if answer.code not in _REDIRECTS or location is None:
                return _accepted(answer)
            url = urljoin(url, location)
            method = _REDIRECTS[answer.code] or method
        raise failure("HttpError", f"more than {_REDIRECT_LIMIT} redirects from {request.url}")

    def _local(self, url: str) -> str:
        for root, local in self._hosts.items():
            if url == root or url.startswith((f"{root}/", f"{root}?")):
                return local + url[len(root) :]
        return url

    def _exchange(
        self, request: HttpRequest, method: str, url: str, deadline: float, cancellation: Breakable
    ) -> _Answer:
        parts = _split(url)
        headers = dict(request.headers)
        if request.auth is not None:
            headers["Authorization"] = f"Bearer {self._tokens[request.auth]}"
        body = request.body if method == request.method else None
        connection = self._pool.take(parts)
        line = _Line(connection, url, deadline)
        try:
            with cancellation.breaking(line.break_off):
                answer = line.exchange(method, _path(parts), body, headers)
        except BaseException:
            connection.close()
            raise
        self._pool.give_back(parts, connection)
        return answer


@dataclass(frozen=True)
class _Answer:
    code: int
    reason: str
    headers: dict[str, str]
    body: bytes


class _Line:
    """One exchange over one connection, within a deadline."""

    def __init__(self, connection: http.client.HTTPConnection, url: str, deadline: float) -> None:
        self._connection = connection
        self._url = url
        self._deadline = deadline
        self._broken = False

    def break_off(self) -> None:
        self._broken = True
        sock: socket.socket | None = self._connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                sock.close()

    def exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> _Answer:
        """Return the answer; a peer that wants no more leaves the connection closed."""
        self._connect()
        return self._ask(method, path, body, headers)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise failure("TimeoutError", f"{self._url}: no complete answer in time")
        return left

    def _connect(self) -> None:
        if self._connection.sock is not None:
            return
        self._connection.timeout = self._left()
        try:
            self._connection.connect()
        except TimeoutError:
            raise failure("TimeoutError", f"{self._url}: no connection in time") from None
        except (OSError, ValueError) as error:
            raise failure("ConnectionFailedError", f"{self._url}: {error}") from None
        if self._broken:
            raise failure("ConnectionError", f"{self._url}: broken off")

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> _Answer:
        try:
            self._connection.sock.settimeout(self._left())
            self._connection.request(method, path, body, dict(headers))
            with self._connection.getresponse() as response:
                content = self._read(response)
        except TimeoutError:
            raise failure("TimeoutError", f"{self._url}: no answer in time") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise failure("ConnectionError", f"{self._url}: {error!r}") from None
        fields = {name.lower(): value for name, value in response.getheaders()}
        return _Answer(response.status, response.reason, fields, content)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := response.read1(_CHUNK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > RESPONSE_LIMIT_BYTES:
                raise resource_limit(
                    f"{self._url}: answer of more than {RESPONSE_LIMIT_BYTES} bytes"
                )
            if self._connection.sock is not None:
                self._connection.sock.settimeout(self._left())
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(pieces)


def _path(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else path


def _accepted(answer: _Answer) -> Value:
    content: dict[str, Value] = {
        "code": answer.code,
        "headers": answer.headers,
        "body": _decoded(answer),
    }
    if 200 <= answer.code < 300:
        return content
    message = f"HTTP server responded with error code {answer.code}"
    raise WorkflowFailure({"message": message, "tags": ["HttpError"], **content})


def _decoded(answer: _Answer) -> Value:
    kind = answer.headers.get("content-type", "")
    if _is_json(kind):
        try:
            return from_json(answer.body) if answer.body else None
        except WorkflowFailure:
            return answer.body.decode("utf-8", "replace")
    if kind.lower().startswith("text/"):
        return answer.body.decode("utf-8", "replace")
    return answer.body


class _Pool:
    """Idle connections by scheme, host and port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        self._tls: ssl.SSLContext | None = None

    def take(self, parts: SplitResult) -> http.client.HTTPConnection:
        """Return an idle connection that its peer has not closed, or a new one."""
        while True:
            with self._lock:
                waiting = self._idle.get((parts.scheme, parts.netloc), [])
                connection = waiting.pop() if waiting else None
            if connection is None:
                return self._new(parts)
            if not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()

    def _new(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, context=self._tls)
        return http.client.HTTPConnection(host, parts.port)

    def give_back(self, parts: SplitResult, connection: http.client.HTTPConnection) -> None:
        if connection.sock is None:
            return
        with self._lock:
            self._idle.setdefault((parts.scheme, parts.netloc), []).append(connection)

    def close(self) -> None:
        with self._lock:
            idle = [connection for group in self._idle.values() for connection in group]
            self._idle.clear()
        for connection in idle:
            connection.close()
