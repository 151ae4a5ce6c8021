"""The services behind REST, asked without a socket, and behind gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.message import Message
from io import BufferedReader, BytesIO
from typing import Any
from urllib.parse import parse_qs

import grpc
import pytest

from saxflow.local.arming import fault_admin
from saxflow.local.faults import Faults
from saxflow.local.http import Body, Request, Response
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi
from saxflow.local.rpc.table import PUBLISHER, SUBSCRIBER

from .services import Ask, Publisher, Subscriber


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def hosted(publisher: Publisher) -> list[Hosted]:
    return [Hosted(PUBLISHER, publisher), Hosted(SUBSCRIBER, Subscriber())]


@pytest.fixture
def ask(hosted: list[Hosted], faults: Faults, operations: Operations) -> Ask:
    """Return a function that sends one REST request."""
    mounts = {"/local/faults": fault_admin(faults)}
    api = RestApi(hosted, faults=faults, operations=operations, mounts=mounts)
    api.stop()  # scripted silences end at once

    def call(method: str, target: str, body: Any = None) -> Response:
        data = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        headers = Message()
        headers["Content-Length"] = str(len(data))
        path, _, query = target.partition("?")
        stream = Body(BufferedReader(BytesIO(data)), headers)
        return api(Request(method, path, parse_qs(query, keep_blank_values=True), headers, stream))

    return call


@pytest.fixture
def channel(hosted: list[Hosted], faults: Faults, operations: Operations) -> Iterator[grpc.Channel]:
    server = GrpcServer(hosted, faults=faults, operations=operations)
    server.start()
    with grpc.insecure_channel(server.target) as channel:
        yield channel
    server.stop()
