"""A server of SAX's methods, and a sax-root that names it."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from saxflow.sax import methods

from .servers import Server, watched


@pytest.fixture
def server() -> Generator[Server]:
    """An admin and model server in one."""
    started = Server()
    started.start()
    started.answers[methods.WATCH_LOC] = [watched(started.address), None]
    yield started
    started.stop()


@pytest.fixture
def root(announce: Callable[[str], str], server: Server) -> str:
    return announce(server.address)
