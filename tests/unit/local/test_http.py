from __future__ import annotations

import http.client
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from saxflow.local.http import Dropped, FileSlice, HttpServer, Request, Response, json_response

SEEN: list[int] = []


def handle(request: Request) -> Response:
    SEEN.append(threading.get_ident())
    match request.path:
        case "/echo":
            return Response(200, {"X-Query": request.first("q") or ""}, request.body.read())
        case "/ignore":
            return json_response(200, {"read": False})
        case "/file":
            file = open(request.first("path") or "", "rb")  # noqa: SIM115  # closed by the server
            return Response(200, {}, FileSlice(file, 2, 5))
        case "/cut":
            return Response(200, {}, b"0123456789", cut_after_bytes=4)
        case "/drop":
            raise Dropped(reset=request.first("reset") == "1")
        case _:
            raise ValueError("no such page")


@pytest.fixture
def connection() -> Iterator[http.client.HTTPConnection]:
    SEEN.clear()
    server = HttpServer(handle)
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    yield connection
    connection.close()
    server.stop()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
        pass


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None):
    connection.request(method, path, body)
    reply = connection.getresponse()
    return reply.status, reply.read(), reply.headers


def test_keep_alive_serves_one_connection_from_one_thread(
    connection: http.client.HTTPConnection,
) -> None:
    for n in range(3):
        status, body, headers = ask(connection, "POST", f"/echo?q={n}%20", b"x" * n)
        assert (status, body, headers["X-Query"]) == (200, b"x" * n, f"{n} ")
    assert len(set(SEEN)) == 1


def test_unread_bodies_do_not_confuse_the_next_request(
    connection: http.client.HTTPConnection,
) -> None:
    assert ask(connection, "POST", "/ignore", b"y" * 100_000)[0] == 200
    assert ask(connection, "POST", "/echo", b"z")[1] == b"z"


def test_chunked_bodies(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/echo", iter([b"ab", b"cde"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert connection.getresponse().read() == b"abcde"
    assert ask(connection, "POST", "/echo", b"z")[1] == b"z"


def test_file_slices(connection: http.client.HTTPConnection, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    assert ask(connection, "GET", f"/file?path={path}")[1] == b"23456"


def test_cut_bodies_close_the_connection(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/cut")
    with pytest.raises(http.client.IncompleteRead) as caught:
        connection.getresponse().read()
    assert caught.value.partial == b"0123"


@pytest.mark.parametrize("reset", ["0", "1"])
def test_dropped_connections(connection: http.client.HTTPConnection, reset: str) -> None:
    with pytest.raises(ConnectionError):
        ask(connection, "GET", f"/drop?reset={reset}")


def test_handlers_that_fail_answer_500(connection: http.client.HTTPConnection) -> None:
    status, body, _ = ask(connection, "GET", "/nowhere")
    assert status == 500
    assert b"ValueError: no such page" in body


@pytest.mark.parametrize("size", [b"zz", b"-1", b"", b"1_0", b"0x1", b"f" * 5000])
def test_bad_chunk_sizes_answer_400(connection: http.client.HTTPConnection, size: bytes) -> None:
    with socket.create_connection((connection.host, connection.port), 60) as raw:
        raw.sendall(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_a_chunk_that_is_longer_than_its_size_answers_400(
    connection: http.client.HTTPConnection,
) -> None:
    with socket.create_connection((connection.host, connection.port), 60) as raw:
        raw.sendall(
            b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("length", [b"x", b"-1", b"1.5", b"9" * 5000])
def test_bad_lengths_answer_400(connection: http.client.HTTPConnection, length: bytes) -> None:
    with socket.create_connection((connection.host, connection.port), 60) as raw:
        raw.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")


def opened(path: Path) -> bool:
    """Say whether this process has the file open."""
    fds = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
    return str(path.resolve()) in fds


def test_a_file_is_closed_when_the_request_breaks_off(
    connection: http.client.HTTPConnection, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    request = f"POST /file?path={path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    with socket.create_connection((connection.host, connection.port), 60) as raw:
        raw.sendall(request.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert not opened(path)


def test_a_peer_that_resets_its_upload_is_no_failure_of_ours(
    connection: http.client.HTTPConnection,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[..., None],
) -> None:
    caplog.set_level(logging.DEBUG, "saxflow.local.http")
    raw = socket.create_connection((connection.host, connection.port), 60)
    raw.sendall(b"POST /echo HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    eventually(lambda: SEEN)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    eventually(lambda: caplog.records)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
