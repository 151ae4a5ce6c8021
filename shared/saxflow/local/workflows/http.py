"""`http.*`: real requests over kept-alive connections, answers decoded as the service does it.

A non-2xx answer is an HttpError, a peer that cannot be reached a ConnectionFailedError, one that
breaks off a ConnectionError, one that is late a TimeoutError: maps that a workflow can catch.

Source: https://cloud.google.com/workflows/docs/http-requests,
https://cloud.google.com/workflows/docs/reference/stdlib/http/request
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import SplitResult, quote, urldefrag, urlencode, urljoin, urlsplit

from saxflow.local.workflows.bodies import decode_body, default_content_type, encode_body
from saxflow.local.workflows.failures import (
    Value,
    WorkflowFailure,
    failure,
    resource_limit,
    value_error,
)
from saxflow.local.workflows.stdlib.signature import expect, expect_number
from saxflow.local.workflows.values import text_of

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
DEFAULT_TIMEOUT_SECONDS = 300.0
TIMEOUT_LIMIT_SECONDS = 1800.0
RESPONSE_LIMIT_BYTES = 2 * 1024 * 1024
IDLE_LIMIT = 64
USER_AGENT = "GoogleCloudWorkflows; (+https://cloud.google.com/workflows/docs)"

_REQUEST_METHODS = (*HTTP_METHODS, "HEAD", "OPTIONS", "TRACE", "CONNECT")
_REDIRECTS = {301: "GET", 302: "GET", 303: "GET", 307: None, 308: None}
_REDIRECT_LIMIT = 10
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
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
    body = arguments.get("body")
    return HttpRequest(
        method=verb,
        url=_url(arguments["url"], arguments.get("query")),
        headers=headers,
        body=None if body is None else encode_body(body, _content_type(body, headers)),
        auth=_auth(arguments.get("auth")),
        timeout_seconds=_timeout(arguments.get("timeout")),
    )


def _url(url: Value, query: Value) -> str:
    text = urldefrag(expect(url, str, "url")).url
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
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise value_error(
                f"header {name[:60]!r}: {text[:60]!r} cannot be sent; names are letters, digits and"
                " hyphens, values one line of Latin-1 text"
            )
    agent = _present(headers, "User-Agent")
    headers[agent] = f"{headers.get(agent, '')} {USER_AGENT}".strip()
    return headers


def _present(headers: Mapping[str, str], name: str) -> str:
    """Return a header's name as it is written there, as it was asked for when it is not there."""
    return next((each for each in headers if each.lower() == name.lower()), name)


def _content_type(body: Value, headers: dict[str, str]) -> str:
    """Return the content type of a body, which then stands in the headers."""
    return headers.setdefault(_present(headers, "Content-Type"), default_content_type(body))


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
        """Close every idle connection; one still under way is closed when it comes back."""
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
        followed = 0
        while True:
            answer = self._exchange(request, method, self._local(url), deadline, cancellation)
            location = answer.headers.get("location")
            if answer.code not in _REDIRECTS or location is None:
                return _accepted(answer)
            followed += 1
            if followed > _REDIRECT_LIMIT:
                told = f"more than {_REDIRECT_LIMIT} redirects from {request.url}"
                raise _http_error(answer, told)
            url = urljoin(url, location)
            if method != "HEAD":
                method = _REDIRECTS[answer.code] or method

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
    headers: dict[str, str]
    body: bytes


class _Line:
    """One exchange over one connection, within a deadline.

    It keeps hold of the socket: http.client lets go of one that ends with its answer.
    """

    def __init__(self, connection: http.client.HTTPConnection, url: str, deadline: float) -> None:
        self._connection = connection
        self._sock: socket.socket | None = connection.sock
        self._url = url
        self._deadline = deadline
        self._broken = False

    def break_off(self) -> None:
        self._broken = True
        if self._sock is not None:
            with suppress(OSError):  # a peer that has gone breaks it off as well
                self._sock.shutdown(socket.SHUT_RDWR)

    def exchange(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> _Answer:
        """Return the answer; a peer that wants no more leaves the connection closed."""
        sock = self._sock or self._connect()
        return self._ask(sock, method, path, body, headers)

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise failure("TimeoutError", f"{self._url}: no complete answer in time")
        return left

    def _connect(self) -> socket.socket:
        self._connection.timeout = self._left()
        try:
            self._connection.connect()
        except TimeoutError:
            raise failure("TimeoutError", f"{self._url}: no connection in time") from None
        except (OSError, ValueError) as error:
            raise failure("ConnectionFailedError", f"{self._url}: {error}") from None
        self._sock = sock = self._connection.sock
        if self._broken:
            raise failure("ConnectionError", f"{self._url}: broken off")
        return sock

    def _ask(
        self,
        sock: socket.socket,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> _Answer:
        try:
            sock.settimeout(self._left())
            self._connection.request(method, path, body, dict(headers))
            with self._connection.getresponse() as response:
                content = self._read(sock, response)
        except TimeoutError:
            raise failure("TimeoutError", f"{self._url}: no answer in time") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise failure("ConnectionError", f"{self._url}: {error!r}") from None
        fields = {name.lower(): value for name, value in response.getheaders()}
        return _Answer(response.status, fields, content)

    def _read(self, sock: socket.socket, response: http.client.HTTPResponse) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := response.read1(_CHUNK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > RESPONSE_LIMIT_BYTES:
                raise resource_limit(
                    f"{self._url}: answer of more than {RESPONSE_LIMIT_BYTES} bytes"
                )
            if not response.isclosed():
                sock.settimeout(self._left())
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(pieces)


def _path(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else path


def _accepted(answer: _Answer) -> Value:
    if not 200 <= answer.code < 300:
        raise _http_error(answer, f"HTTP server responded with error code {answer.code}")
    return _content(answer)


def _http_error(answer: _Answer, message: str) -> WorkflowFailure:
    return failure("HttpError", message, **_content(answer))


def _content(answer: _Answer) -> dict[str, Value]:
    body = decode_body(answer.body, answer.headers.get("content-type", ""))
    return {"code": answer.code, "headers": answer.headers, "body": body}


class _Pool:
    """Idle connections, the one used last at the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[str, http.client.HTTPConnection]] = []
        self._tls: ssl.SSLContext | None = None
        self._limit = IDLE_LIMIT

    def take(self, parts: SplitResult) -> http.client.HTTPConnection:
        """Return an idle connection that its peer has not closed, or a new one."""
        while (connection := self._idle_to(_peer(parts))) is not None:
            if not _hung_up([connection]):
                return connection
            connection.close()
        return self._new(parts)

    def _idle_to(self, peer: str) -> http.client.HTTPConnection | None:
        with self._lock:
            for position in reversed(range(len(self._idle))):
                if self._idle[position][0] == peer:
                    return self._idle.pop(position)[1]
        return None

    def _new(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            self._tls = self._tls or ssl.create_default_context()
            return http.client.HTTPSConnection(host, parts.port, context=self._tls)
        return http.client.HTTPConnection(host, parts.port)

    def give_back(self, parts: SplitResult, connection: http.client.HTTPConnection) -> None:
        """Keep a connection; close those whose peer has gone, and the oldest of too many."""
        if connection.sock is None:
            return
        with self._lock:
            self._idle.append((_peer(parts), connection))
            gone = _hung_up([each for _, each in self._idle])
            alive = [each for each in self._idle if each[1] not in gone]
            kept = alive[max(len(alive) - self._limit, 0) :]
            closed = [each for each in self._idle if each not in kept]
            self._idle = kept
        for _, each in closed:
            each.close()

    def close(self) -> None:
        """Close every idle connection, and from now on each that is given back."""
        with self._lock:
            self._limit = 0
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()


def _peer(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}"


def _hung_up(
    idle: Sequence[http.client.HTTPConnection],
) -> list[http.client.HTTPConnection]:
    """Return the connections with something to read: an end, or what nobody has asked for."""
    poll = select.poll()
    by_number = {connection.sock.fileno(): connection for connection in idle}
    for number in by_number:
        poll.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poll.poll(0)]
