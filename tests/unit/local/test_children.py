from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from saxflow.errors import ConfigurationError, DeadlineError
from saxflow.local.children import ChildService, function_command
from saxflow.local.vm.guard import descendants

LISTEN = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["K_SERVICE"].encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def child(tmp_path: Path, program: str) -> ChildService:
    log = tmp_path / "logs" / "name.log"
    return ChildService("name", [sys.executable, "-c", program], dict(os.environ), log)


def test_a_service_listens_on_its_port_until_stopped(tmp_path: Path) -> None:
    service = child(tmp_path, LISTEN)
    service.wait_ready(60)
    with urlopen(service.url, timeout=5) as reply:
        assert reply.read() == b"name"
    service.stop()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", service.port), 1):
        pass


def test_nobody_else_gets_the_port_while_the_service_does_not_listen(tmp_path: Path) -> None:
    service = child(tmp_path, "import signal; signal.pause()")
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(("127.0.0.1", service.port))
    service.stop()
    with socket.socket() as other:
        other.bind(("127.0.0.1", service.port))


def test_a_service_listens_again_after_a_crash(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    service = child(tmp_path, LISTEN)
    service.wait_ready(60)
    first = service.pid
    (family,) = descendants(first)
    os.kill(family, signal.SIGKILL)
    eventually(lambda: service.pid != first)
    service.wait_ready(60)
    with urlopen(service.url, timeout=30) as reply:
        assert reply.read() == b"name"
    service.stop()


def test_a_service_comes_back_once_what_was_in_the_way_is_gone(
    tmp_path: Path, eventually: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    service = child(tmp_path, LISTEN)
    service.wait_ready(60)
    first = service.pid
    (tmp_path / "logs").rename(tmp_path / "moved")
    (tmp_path / "logs").write_text("in the way")
    (family,) = descendants(first)
    os.kill(family, signal.SIGKILL)
    eventually(lambda: "name cannot be started again" in caplog.text)
    (tmp_path / "logs").unlink()
    eventually(lambda: service.pid != first)
    service.wait_ready(60)
    service.stop()


def test_what_cannot_be_started_keeps_no_port(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(OSError, match="logs"):
        child(tmp_path, LISTEN)


def test_a_service_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    service = child(tmp_path, "print('what went wrong'); raise SystemExit(3)")
    with pytest.raises(ConfigurationError, match="what went wrong"):
        service.wait_ready(60)
    service.stop()


def test_a_service_that_never_listens(tmp_path: Path) -> None:
    service = child(tmp_path, "import signal; signal.pause()")
    with pytest.raises(DeadlineError, match="does not listen"):
        service.wait_ready(0.2)
    service.stop()


def test_commands(tmp_path: Path) -> None:
    command = function_command(tmp_path, "target", "cloudevent")
    assert command[1:] == [
        "-m", "saxflow.local.function_host", str(tmp_path / "main.py"), "target", "cloudevent",
    ]  # fmt: skip
