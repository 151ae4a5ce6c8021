"""A threaded HTTP/1.1 server on loopback: keep-alive, no Nagle delay, files sent by the kernel.

A handler is a function from `Request` to `Response`; bodies of uploads are streams, bodies of
downloads may be slices of files, so that memory stays bounded whatever passes through.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from io import BufferedReader
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qs

from saxflow.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
_LOG = logging.getLogger(__name__)
_DRAIN_PIECE_BYTES = 1 << 18
_LINE_LIMIT_BYTES = 1 << 16
_NO_LINE_ENDS = {ord("\r"): " ", ord("\n"): " "}


class Dropped(Exception):  # noqa: N818  # the name says what happened to the connection
    """Raised by a handler to close the connection without an answer.

    Args:
        reset: close with a TCP reset instead of an orderly end.
    """

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("connection dropped")
        self.reset = reset


class BadBody(Exception):  # noqa: N818
    """The peer broke the framing of its body; nothing more can be read from the connection."""


class Body:
    """A request's body as a stream, of a given length or chunked."""

    def __init__(self, source: BufferedReader, headers: Message) -> None:
        self._source = source
        self._chunked = "chunked" in (headers.get("Transfer-Encoding") or "").lower()
        self._left = 0 if self._chunked else _content_length(headers)
        self.finished = not self._chunked and self._left == 0

    def read(self, limit: int = -1) -> bytes:
        """Return up to `limit` bytes (all that is left when negative), empty at the end."""
        if limit < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if self._left == 0 and self._chunked and not self.finished:
            self._next_chunk()
        if self.finished:
            return b""
        data = _received(lambda: self._source.read(min(limit, self._left)))
        if not data:
            raise BadBody("the connection ended within the body")
        self._left -= len(data)
        self._end_of_piece()
        return data

    def peek(self) -> bytes:
        """Return what has arrived, without consuming it; waits for something, unless at the end."""
        return b"" if self.finished else _received(self._source.peek)

    def _line(self) -> bytes:
        return _received(lambda: self._source.readline(_LINE_LIMIT_BYTES))

    def _end_of_piece(self) -> None:
        if self._left:
            return
        if not self._chunked:
            self.finished = True
        elif self._line().strip():
            raise BadBody("a chunk is longer than its size says")

    def _next_chunk(self) -> None:
        line = self._line()
        size = line.split(b";")[0].strip()
        if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", size):
            raise BadBody(f"chunk size {line[:40]!r} is not hexadecimal")
        self._left = int(size, 16)
        if self._left == 0:
            while self._line().strip():
                continue
            self.finished = True


def _received(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError as error:
        raise BadBody(f"the connection broke within the body: {error}") from error


def _content_length(headers: Message) -> int:
    text = headers.get("Content-Length") or "0"
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadBody(f"Content-Length {text[:40]!r} is not a number of bytes")
    return int(text)


@dataclass
class Request:
    """One request.

    Args:
        method: upper case.
        path: as it came, still percent-encoded, without the query.
        query: decoded parameters, each with all its values.
        headers: case-insensitive.
        body: read at most once.
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: Body

    def first(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass
class FileSlice:
    """Part of an open file as a body; the server closes the file."""

    file: BinaryIO
    offset: int
    length: int


@dataclass
class Response:
    """One answer.

    Args:
        cut_after_bytes: send only this much of the body, then close: a scripted fault.
        hold_seconds: keep silent this long before closing.
        flip_first_byte: send a first byte that differs from the body's.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | FileSlice = b""
    cut_after_bytes: int | None = None
    hold_seconds: float = 0.0
    flip_first_byte: bool = False

    @property
    def length(self) -> int:
        """Size of the body in bytes."""
        return self.body.length if isinstance(self.body, FileSlice) else len(self.body)

    def release(self) -> None:
        """Close the file that the body is part of."""
        if isinstance(self.body, FileSlice):
            self.body.file.close()


Handler = Callable[[Request], Response]


def json_response(status: int, value: Any, headers: dict[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(
        status, {"Content-Type": "application/json; charset=UTF-8", **(headers or {})}, body
    )


class HttpServer:
    """Serve a handler on a loopback port until stopped.

    Args:
        handler: called from one thread per connection.
        port: 0 picks a free one.

    Raises:
        ConfigurationError: the port is taken.
    """

    def __init__(self, handler: Handler, *, host: str = LOOPBACK, port: int = 0) -> None:
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {host}: {error.strerror}; choose another"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="http", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it is bound to."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return f"http://{self._server.server_address[0]}:{self.port}"

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: Handler) -> None:
        self.handler = handler
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        self.stopping.set()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        _LOG.debug("connection from %s ended early", client_address, exc_info=True)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 18

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
        _LOG.debug(format, *args)

    def _serve(self) -> None:
        try:
            response = self._answered()
        except Dropped as dropped:
            self._drop(reset=dropped.reset)
            return
        except BadBody as error:
            self.close_connection = True
            response = json_response(400, {"error": {"code": 400, "message": str(error)}})
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815  # http.server looks these up

    def _answered(self) -> Response:
        """Return the handler's answer once the whole request has come."""
        body = Body(cast(BufferedReader, self.rfile), self.headers)
        response = self._answer(self._request(body))
        try:
            self._drain(body)
        except BaseException:
            response.release()
            raise
        return response

    def _request(self, body: Body) -> Request:
        path, _, query = self.path.partition("?")
        parameters = parse_qs(query, keep_blank_values=True) if query else {}
        return Request(self.command, path, parameters, self.headers, body)

    def _answer(self, request: Request) -> Response:
        try:
            return cast(_Server, self.server).handler(request)
        except (Dropped, BadBody):
            raise
        except Exception as error:  # noqa: BLE001  # outermost loop of a request
            _LOG.exception("%s %s failed", request.method, request.path)
            message = f"{type(error).__name__}: {error}"
            return json_response(500, {"error": {"code": 500, "message": message}})

    def _drop(self, *, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def _drain(self, body: Body) -> None:
        """Receive what the handler left: most clients look for an answer only after sending all."""
        while not body.finished:
            body.read(_DRAIN_PIECE_BYTES)

    def _send(self, response: Response) -> None:
        body, cut = response.body, response.cut_after_bytes
        try:
            head = self._head(response)
            if self.command == "HEAD" or response.status in (204, 304):
                self.connection.sendall(head)
            elif isinstance(body, bytes):
                self.connection.sendall(head + body[:cut])
            else:
                self._send_file(head, body, response)
        finally:
            response.release()
        if cut is not None:
            cast(_Server, self.server).stopping.wait(response.hold_seconds)
            self.close_connection = True

    def _send_file(self, head: bytes, body: FileSlice, response: Response) -> None:
        cut, skip = response.cut_after_bytes, 0
        count = body.length if cut is None else min(cut, body.length)
        if response.flip_first_byte and count:
            body.file.seek(body.offset)
            head, skip = head + bytes([body.file.read(1)[0] ^ 0xFF]), 1
        more = getattr(socket, "MSG_MORE", 0) if count > skip else 0
        self.connection.sendall(head, more)
        if count > skip:
            self.connection.sendfile(body.file, body.offset + skip, count - skip)

    def _head(self, response: Response) -> bytes:
        headers = {"Content-Length": str(response.length), **response.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        phrase = self.responses.get(response.status, ("",))[0]
        lines = [f"HTTP/1.1 {response.status} {phrase}"]
        lines += [f"{name}: {value}".translate(_NO_LINE_ENDS) for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
