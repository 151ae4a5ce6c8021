"""What the tests of the Workflows language share: running a source, and a server that is told what to answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import WorkflowFailure, run_workflow


class Peer:
    """A loopback HTTP server whose answers are a function of the request."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.respond: Callable[[Seen], Answer] = lambda seen: Answer()
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                try:
                    self.answer()
                except ConnectionError:
                    self.close_connection = True

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen = Seen(
                    self.command,
                    self.path,
                    headers,
                    self.rfile.read(length),
                    self.client_address[1],
                )
                peer.requests.append(seen)
                answer = peer.respond(seen)
                if answer.drop:
                    self.close_connection = True
                    return
                self.send_response(answer.code)
                for name, value in {"Content-Type": answer.kind, **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(answer.claimed or len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
                if answer.claimed:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    client_port: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    code: int = 200
    body: bytes = b"{}"
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    claimed: int = 0

    @classmethod
    def of(cls, value: Any, code: int = 200) -> Answer:
        return cls(code, json.dumps(value).encode())


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    yield server
    server.close()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(1000.0, auto=True)


@pytest.fixture
def run(clock: VirtualClock) -> Callable[..., Any]:
    """Run a source in virtual time."""

    def call(source: str, argument: Any = None, **options: Any) -> Any:
        return run_workflow(source, argument, **{"clock": clock, **options})

    return call


@pytest.fixture
def evaluate(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return the value of one expression, with variables."""

    def call(expression: str, **variables: Any) -> Any:
        source = "main:\n  params: [args]\n  steps:\n"
        if variables:
            source += "  - init:\n      assign:\n" + "".join(
                f"        - {name}: ${{args.{name}}}\n" for name in variables
            )
        source += f"  - out:\n      return: {json.dumps('${' + expression + '}')}\n"
        return run(source, variables)

    return call


@pytest.fixture
def fails(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """Return the first tag of the error that an expression ends in."""

    def call(expression: str, **variables: Any) -> str:
        with pytest.raises(WorkflowFailure) as caught:
            evaluate(expression, **variables)
        return caught.value.payload["tags"][0]

    return call
