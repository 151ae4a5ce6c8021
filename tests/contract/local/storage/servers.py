"""The embedded storage server, in this process and in one of its own, and Google's client of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from google.cloud import storage

from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer

CHUNK = 256 * 1024
"""The unit of resumable uploads."""

SERVE = """
import sys
from pathlib import Path
from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer
server = StorageServer(
    Path(sys.argv[1]), clock=RealClock(), faults=Faults(), publish=lambda *message: None
)
server.start()
print(server.url, flush=True)
sys.stdin.read()
"""


class Cloud:
    """A running server and Google's client of it."""

    def __init__(self, directory: Path) -> None:
        self.faults = Faults()
        self.published: list[tuple[str, bytes, dict[str, str]]] = []
        self.events: list[tuple[str, str]] = []
        self.server = StorageServer(
            directory,
            clock=RealClock(),
            faults=self.faults,
            publish=lambda *message: self.published.append(message),
        )
        self.server.listen(lambda event, record, _: self.events.append((event, record.name)))
        self.server.start()
        self.url = self.server.url
        self.client = storage.Client(
            project="p", client_options={"api_endpoint": self.url}, use_auth_w_custom_endpoint=False
        )

    def close(self) -> None:
        self.client.close()
        self.server.stop()

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            return session.request(method, self.url + path, timeout=60, **options)

    def insert(self, name: str, data: bytes, **query: str) -> requests.Response:
        parameters = {"uploadType": "media", "name": name, **query}
        return self.request("POST", "/upload/storage/v1/b/buck/o", params=parameters, data=data)

    def start_session(
        self, name: str, fields: dict[str, str] | None = None, query: str = ""
    ) -> str:
        """Begin a resumable upload; return its path and query."""
        path = f"/upload/storage/v1/b/buck/o?uploadType=resumable&name={name}{query}"
        reply = self.request("POST", path, json=fields or {})
        assert reply.status_code == 200
        return reply.headers["Location"].removeprefix(self.url)

    def put(self, session: str, data: bytes, content_range: str) -> requests.Response:
        """Send one chunk of a session."""
        return self.request("PUT", session, data=data, headers={"Content-Range": content_range})


@dataclass
class ServerProcess:
    """A server that can be killed and measured."""

    process: subprocess.Popen[bytes]
    url: str


@contextmanager
def serve_apart(directory: Path) -> Iterator[ServerProcess]:
    """Run a server on a directory in a process of its own, until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        yield ServerProcess(process, process.stdout.readline().decode().strip())


def names(listing: Any) -> list[str]:
    return [blob.name for blob in listing]
