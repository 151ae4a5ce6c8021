from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from saxflow.errors import ConfigurationError, DeadlineError
from saxflow.local.children import ChildService, free_port, function_command

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
    service.wait_ready(20)
    with urlopen(service.url, timeout=5) as reply:
        assert reply.read() == b"name"
    service.stop()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", service.port), 1):
        pass


def test_a_service_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    service = child(tmp_path, "print('what went wrong'); raise SystemExit(3)")
    with pytest.raises(ConfigurationError, match="what went wrong"):
        service.wait_ready(20)
    service.stop()


def test_a_service_that_never_listens(tmp_path: Path) -> None:
    service = child(tmp_path, "import signal; signal.pause()")
    with pytest.raises(DeadlineError, match="does not listen"):
        service.wait_ready(0.2)
    service.stop()


def test_ports_and_commands(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))
    command = function_command(tmp_path, "target", "cloudevent")
    assert command[1:] == [
        "-m", "saxflow.local.function_host", str(tmp_path / "main.py"), "target", "cloudevent",
    ]  # fmt: skip
