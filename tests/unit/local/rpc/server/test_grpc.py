"""gRPC: calls, streams, errors, faults, the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.pubsub_v1 import types
from google.rpc import error_details_pb2, status_pb2

from saxflow.errors import ConfigurationError
from saxflow.local.faults import Faults
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted

from .services import PARENT, TOPIC, Publisher


def invoke(channel: grpc.Channel, path: str, request: bytes = b"") -> bytes:
    return channel.unary_unary(path)(request, timeout=60)


def publish(channel: grpc.Channel) -> bytes:
    request = types.PublishRequest(topic=TOPIC, messages=[{"data": b"x"}])
    return invoke(
        channel, "/google.pubsub.v1.Publisher/Publish", types.PublishRequest.serialize(request)
    )


def status_of(caught: Any) -> status_pb2.Status:
    """Return the rich status that came with an error, which must agree with the plain one."""
    metadata = dict(caught.value.trailing_metadata())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    assert status.code == caught.value.code().value[0]
    assert status.message == caught.value.details()
    return status


def test_a_call(channel: grpc.Channel, publisher: Publisher) -> None:
    assert list(types.PublishResponse.deserialize(publish(channel)).message_ids) == ["é"]
    assert publisher.published[0].messages[0].data == b"x"


def test_errors_carry_their_details(channel: grpc.Channel) -> None:
    request = types.GetTopicRequest.serialize(types.GetTopicRequest(topic="é"))
    with pytest.raises(grpc.RpcError) as caught:
        invoke(channel, "/google.pubsub.v1.Publisher/GetTopic", request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    info = error_details_pb2.ErrorInfo()
    assert status_of(caught).details[0].Unpack(info)
    assert info.reason == "MISSING"


@pytest.mark.parametrize("letter", ["x", "é", "😀"])
@pytest.mark.parametrize("count", [500, 2000, 8000, 100_000])
def test_errors_of_any_length_arrive(channel: grpc.Channel, letter: str, count: int) -> None:
    request = types.GetTopicRequest.serialize(types.GetTopicRequest(topic=letter * count))
    with pytest.raises(grpc.RpcError) as caught:
        invoke(channel, "/google.pubsub.v1.Publisher/GetTopic", request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    status = status_of(caught)
    assert status.message.startswith(letter * 300)
    assert status.details, "what a program reads is never cut"


@pytest.mark.parametrize(
    ("method", "code", "words"),
    [
        ("google.pubsub.v1.Publisher/DeleteTopic", grpc.StatusCode.INTERNAL, "KeyError"),
        (
            "google.pubsub.v1.Publisher/UpdateTopic",
            grpc.StatusCode.UNIMPLEMENTED,
            "update_topic is not part",
        ),
        ("google.longrunning.Operations/GetOperation", grpc.StatusCode.NOT_FOUND, "does not exist"),
    ],
)
def test_calls_that_fail(
    channel: grpc.Channel, method: str, code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        invoke(channel, f"/{method}")
    assert caught.value.code() is code
    assert words in status_of(caught).message


@pytest.mark.parametrize("path", ["/google.pubsub.v1.Publisher/Nothing", "/nobody/Nothing"])
def test_methods_that_do_not_exist(channel: grpc.Channel, path: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        invoke(channel, path)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message(channel: grpc.Channel, publisher: Publisher) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        invoke(channel, "/google.pubsub.v1.Publisher/Publish", b"\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert publisher.published == []
    publish(channel)


@pytest.mark.parametrize(
    ("action", "code", "happened"),
    [
        ("return-429", grpc.StatusCode.RESOURCE_EXHAUSTED, 0),
        ("return-409", grpc.StatusCode.ABORTED, 0),
        ("return-504", grpc.StatusCode.DEADLINE_EXCEEDED, 0),
        ("return-reset-connection", grpc.StatusCode.UNAVAILABLE, 0),
        ("stall-always", grpc.StatusCode.UNAVAILABLE, 0),
        ("execute-and-timeout", grpc.StatusCode.DEADLINE_EXCEEDED, 1),
    ],
)
def test_faults(
    channel: grpc.Channel, faults: Faults, publisher: Publisher, action: str,
    code: grpc.StatusCode, happened: int,
) -> None:  # fmt: skip
    faults.arm("pubsub", "publish", action, stall_seconds=0, contains=TOPIC)
    with pytest.raises(grpc.RpcError) as caught:
        publish(channel)
    assert caught.value.code() is code
    assert status_of(caught).message == f"scripted fault {action}"
    assert len(publisher.published) == happened
    publish(channel)


def pull(channel: grpc.Channel, *names: str) -> list[str]:
    stream = channel.stream_stream("/google.pubsub.v1.Subscriber/StreamingPull")
    requests = [
        types.StreamingPullRequest.serialize(types.StreamingPullRequest(subscription=name))
        for name in names
    ]
    answers = map(types.StreamingPullResponse.deserialize, stream(iter(requests), timeout=60))
    return [answer.received_messages[0].message.message_id for answer in answers]


def test_streams(channel: grpc.Channel, faults: Faults) -> None:
    assert pull(channel, "a", "é") == ["a", "é"]
    assert pull(channel) == []
    faults.arm("pubsub", "streaming_pull", "return-503")
    with pytest.raises(grpc.RpcError) as caught:
        pull(channel, "a")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "code"), [("none", grpc.StatusCode.NOT_FOUND), ("bug", grpc.StatusCode.INTERNAL)]
)
def test_streams_that_fail(channel: grpc.Channel, name: str, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pull(channel, "a", name)
    assert caught.value.code() is code


def test_a_port_that_is_taken_is_named(hosted: list[Hosted], faults: Faults) -> None:
    one = GrpcServer(hosted, faults=faults, operations=Operations())
    with pytest.raises(ConfigurationError, match=f"port {one.port} on 127.0.0.1 is taken; choose"):
        GrpcServer(hosted, faults=faults, operations=Operations(), port=one.port)
    one.stop()


def test_stopping_what_never_started_releases_the_port(
    hosted: list[Hosted],
    faults: Faults,
    sockets: Callable[[], set[str]],
    eventually: Callable[..., None],
) -> None:
    before = sockets()
    server = GrpcServer(hosted, faults=faults, operations=Operations())
    assert sockets() - before
    server.stop()
    eventually(lambda: sockets() <= before)


def test_stopping_ends_scripted_silences(hosted: list[Hosted], faults: Faults) -> None:
    server = GrpcServer(hosted, faults=faults, operations=Operations())
    server.start()
    faults.arm("pubsub", "publish", "stall-always", stall_seconds=3600)
    with grpc.insecure_channel(server.target) as channel:
        request = types.PublishRequest.serialize(types.PublishRequest(topic=TOPIC))
        future = channel.unary_unary("/google.pubsub.v1.Publisher/Publish").future(request)
        while faults.armed()[0]["matched"] == 0:
            assert not future.done()
        server.stop()
        assert isinstance(future.exception(timeout=60), grpc.RpcError)


def test_operations_over_grpc(channel: grpc.Channel, operations: Operations) -> None:
    name = operations.done(PARENT).name
    request = operations_pb2.GetOperationRequest(name=name).SerializeToString()
    answer = invoke(channel, "/google.longrunning.Operations/GetOperation", request)
    assert operations_pb2.Operation.FromString(answer).done
