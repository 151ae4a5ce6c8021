"""Each client is Google's own and goes where the endpoints say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from saxflow.gcp import clients
from saxflow.local.storage.server import StorageServer
from saxflow.settings import Endpoints

LOCAL = Endpoints(
    storage="http://127.0.0.1:9",
    pubsub="127.0.0.1:9",
    grpc="127.0.0.1:9",
    rest="http://127.0.0.1:9",
)


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (clients.publisher_client, "PublisherClient"),
        (clients.subscriber_client, "SubscriberClient"),
        (clients.batch_client, "BatchServiceClient"),
        (clients.tpu_client, "TpuClient"),
        (clients.workflows_client, "WorkflowsClient"),
        (clients.executions_client, "ExecutionsClient"),
    ],
)
def test_local_clients_need_no_credentials(build: Callable[..., Any], kind: str) -> None:
    client = build(LOCAL)
    assert kind in [base.__name__ for base in type(client).__mro__]
    with closing(client.transport):
        assert client.transport.kind == "grpc"


def test_the_publisher_keeps_the_order() -> None:
    client = clients.publisher_client(LOCAL)
    with closing(client.transport):
        assert client.publisher_options.enable_message_ordering


def test_storage_goes_to_its_endpoint(storage_server: StorageServer) -> None:
    with closing(clients.storage_client("proj", Endpoints(storage=storage_server.url))) as client:
        client.create_bucket("one")
        assert [bucket.name for bucket in client.list_buckets()] == ["one"]


def test_the_environment_decides_by_default(
    storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage_server.url)
    with closing(clients.storage_client("proj")) as client:
        assert storage_server.url == client._connection.API_BASE_URL
