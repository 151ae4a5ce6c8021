"""Listening for real, in a process of its own: exposure, SIGTERM, what is in flight then."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from starlette.applications import Starlette

from saxflow.errors import ConfigurationError
from saxflow.local.children import reserved_port
from saxflow.serving.server import serve
from saxflow.settings import load_serving_settings

PROGRAM = """
import asyncio, sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from saxflow.serving.server import serve

async def slow(request):
    async def body():
        yield b"begun "
        yield (await asyncio.to_thread(sys.stdin.readline)).encode()
    return StreamingResponse(body())

@asynccontextmanager
async def lifespan(app):
    print("up", flush=True)
    yield
    print("down", flush=True)

serve(Starlette(routes=[Route("/slow", slow)], lifespan=lifespan))
"""
Run = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return a function that starts the program above and waits until it listens."""
    started: list[subprocess.Popen[str]] = []
    ports = ExitStack()

    def start(**environ: str) -> tuple[subprocess.Popen[str], int]:
        port: int = ports.enter_context(reserved_port()).getsockname()[1]
        inherited = {key: value for key, value in os.environ.items() if key != "K_SERVICE"}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], env=inherited | {"PORT": str(port)} | environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process, port

    yield start
    for process in started:
        process.kill()
        process.communicate()
    ports.close()


def connect(port: int) -> http.client.HTTPConnection:
    """Return a connection, once the port is open."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            continue
        return http.client.HTTPConnection("127.0.0.1", port, timeout=10)


def test_what_is_in_flight_may_end(run: Run) -> None:
    process, port = run()
    connection = connect(port)
    connection.request("GET", "/slow")
    reply = connection.getresponse()
    assert "server" not in {name.lower() for name, _ in reply.getheaders()}
    assert reply.read(6) == b"begun "
    process.send_signal(signal.SIGTERM)
    assert process.stdin is not None
    process.stdin.write("ended\n")
    process.stdin.flush()
    assert reply.read() == b"ended\n"
    out, _ = process.communicate(timeout=10)
    assert (out, process.returncode) == ("down\n", -signal.SIGTERM)
    connection.close()


def test_grace_has_an_end(run: Run) -> None:
    process, port = run(SAXFLOW_DRAIN_SECONDS="0.1")
    connection = connect(port)
    connection.request("GET", "/slow")
    assert connection.getresponse().read(6) == b"begun "
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    connection.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_an_address_that_nobody_guards_is_not_listened_on(host: str) -> None:
    settings = replace(load_serving_settings({}), host=host)
    with pytest.raises(ConfigurationError) as caught:
        serve(Starlette(), settings)
    assert str(caught.value) == (
        f"listening on {host} would let anybody ask the model; set SAXFLOW_API_KEYS,"
        " or listen on 127.0.0.1"
    )
