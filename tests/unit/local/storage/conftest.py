"""A storage server with the bucket `buck`, and a client that sends what no library would."""

from __future__ import annotations

import http.client
import json
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.faults import Faults
from saxflow.local.storage.listing import Query
from saxflow.local.storage.server import StorageServer
from saxflow.local.storage.store import ANY


@dataclass(frozen=True)
class Answer:
    """One answer of the server."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """Google's error object, which must agree with the status."""
        error = self.json["error"]
        assert error["code"] == self.status
        assert error["message"]
        return error

    @property
    def xml(self) -> ElementTree.Element:
        """The body as XML."""
        return ElementTree.fromstring(self.body)

    def tag(self, name: str) -> str:
        """Return the text of a child of the XML root."""
        return self.xml.findtext(name) or ""


class Peer:
    """A client of one server, over one connection where it can."""

    def __init__(self, directory: Path) -> None:
        self.faults = Faults()
        self.published: list[tuple[str, bytes, dict[str, str]]] = []
        self._directory = directory
        self.server = StorageServer(
            directory,
            clock=VirtualClock(),
            faults=self.faults,
            publish=lambda *message: self.published.append(message),
            project="p",
        )
        self.server.start()
        self.root = self.server.url
        self._connection = http.client.HTTPConnection(self.root.removeprefix("http://"), timeout=60)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request; a body that is neither bytes nor text is sent as JSON."""
        data = body if isinstance(body, bytes) else None
        data = body.encode() if isinstance(body, str) else data
        data = json.dumps(body).encode() if data is None else data
        try:
            self._connection.request(method, path, data, dict(headers or {}))
            reply = self._connection.getresponse()
            return Answer(reply.status, reply.headers, reply.read())
        except BaseException:
            self._connection.close()
            raise

    def insert(self, name: str, data: bytes = b"data", **query: str) -> Answer:
        """Upload an object to `buck`."""
        given = urlencode({"uploadType": "media", "name": name, **query})
        return self.ask("POST", f"/upload/storage/v1/b/buck/o?{given}", data)

    def session(self, name: str = "o", **query: str) -> str:
        """Open a resumable session and return its path."""
        given = urlencode({"uploadType": "resumable", "name": name, **query})
        answer = self.ask("POST", f"/upload/storage/v1/b/buck/o?{given}")
        assert answer.status == 200, answer.body
        return answer.headers["Location"].removeprefix(self.root)

    def files(self) -> int:
        """Return how many data files the bucket has on disk."""
        return len(list((self._directory / "buck" / "data").iterdir()))

    def begin(self) -> None:
        """Leave nothing but the empty bucket `buck`, whatever was there."""
        self.faults.clear()
        for project in ("p", "other"):
            for bucket in self.server.store.buckets(project):
                for record in self.server.store.list(bucket.name, Query())[0]:
                    self.server.store.delete(bucket.name, record.name)
                self.server.store.delete_bucket(bucket.name, ANY)
        assert self.ask("POST", "/storage/v1/b", {"name": "buck"}).status == 200
        self.published.clear()

    def close(self) -> None:
        """Stop the server."""
        self._connection.close()
        self.server.stop()


@contextmanager
def _room(size_bytes: int) -> Iterator[None]:
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))


@pytest.fixture
def room() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context in which no file grows beyond a size: a write that crosses it is cut short.

    That is how a disk fills up.
    """
    return _room


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Return a client of a running server."""
    peer = Peer(tmp_path_factory.mktemp("storage"))
    yield peer
    peer.close()


@pytest.fixture
def peer(running: Peer) -> Peer:
    """Return a client of a server that has one empty bucket, `buck`, and no faults."""
    running.begin()
    return running
