"""gRPC and REST over the same plain class: routes, errors, faults, and who fails how."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from email.message import Message
from io import BufferedReader, BytesIO
from typing import Any
from urllib.parse import parse_qs

import grpc
import pytest
from google.api_core import exceptions
from google.longrunning import operations_pb2
from google.pubsub_v1 import types
from google.rpc import error_details_pb2, status_pb2

from saxflow.errors import ConfigurationError
from saxflow.local.faults import Faults
from saxflow.local.http import Body, Dropped, Request, Response, json_response
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import GrpcServer, Hosted, RestApi, fault_admin
from saxflow.local.rpc.table import PUBLISHER, SUBSCRIBER

TOPIC = "projects/p/topics/events"
PARENT = "projects/p/locations/l"


class Publisher:
    """A service with a method of every mood."""

    def __init__(self) -> None:
        self.published: list[types.PublishRequest] = []

    def get_topic(self, request: types.GetTopicRequest) -> types.Topic:
        info = error_details_pb2.ErrorInfo(reason="MISSING", domain="pubsub")
        raise exceptions.NotFound(f"{request.topic} is nowhere", details=[info])

    def create_topic(self, request: types.Topic) -> types.Topic:
        return request

    def delete_topic(self, request: types.DeleteTopicRequest) -> types.Topic:
        raise KeyError(request.topic)

    def list_topics(self, request: types.ListTopicsRequest) -> types.ListTopicsResponse:
        return types.ListTopicsResponse(next_page_token=f"{request.project}#{request.page_size}")

    def publish(self, request: types.PublishRequest) -> types.PublishResponse:
        self.published.append(request)
        return types.PublishResponse(message_ids=["é"])


class Subscriber:
    """Streams that end in several ways."""

    def streaming_pull(self, stream: Any) -> Iterator[types.StreamingPullResponse]:
        for request in stream:
            assert stream.is_active()
            if request.subscription == "bug":
                raise ValueError("a bug")
            if request.subscription == "none":
                raise exceptions.NotFound("no such subscription")
            message = types.PubsubMessage(message_id=request.subscription)
            yield types.StreamingPullResponse(
                received_messages=[types.ReceivedMessage(message=message)]
            )

    def create_subscription(self, request: types.Subscription) -> types.Subscription:
        return types.Subscription(request, state=types.Subscription.State.ACTIVE)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def operations() -> Operations:
    return Operations()


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def hosted(publisher: Publisher) -> list[Hosted]:
    return [Hosted(PUBLISHER, publisher), Hosted(SUBSCRIBER, Subscriber())]


Ask = Callable[..., Response]


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


def value(answer: Response) -> Any:
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert isinstance(answer.body, bytes)
    return json.loads(answer.body)


def refusal(answer: Response, code: int, status: str) -> dict[str, Any]:
    """Return an error object after a look at its code."""
    error = value(answer)["error"]
    assert (answer.status, error["code"], error["status"]) == (code, code, status)
    return error


# REST


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v1/projects/p"),
        ("GET", "/v2/projects/p/topics"),
        ("PATCH", "/v1/projects/p/topics"),
        ("POST", f"/v1/{TOPIC}"),
        ("POST", f"/v1/{TOPIC}:unknown"),
        ("GET", f"/v1/{TOPIC}/more"),
        ("GET", f"/v1/{TOPIC}/"),
        ("get", "/v1/projects/p/topics"),
    ],
)
def test_what_is_no_method(ask: Ask, method: str, path: str) -> None:
    error = refusal(ask(method, path), 404, "NOT_FOUND")
    assert error["message"] == f"{method} {path}: no such method or resource"


def test_path_query_and_body_become_the_request(ask: Ask, publisher: Publisher) -> None:
    listed = value(ask("GET", "/v1/projects/p/topics?pageSize=7&alt=json&key=k&prettyPrint=true"))
    assert listed == {"nextPageToken": "projects/p#7"}
    body = {"topic": "ignored", "messages": [{"data": "eA==", "attributes": {"é": "😀"}}]}
    assert value(ask("POST", f"/v1/{TOPIC}:publish", body)) == {"messageIds": ["é"]}
    (request,) = publisher.published
    assert request.topic == TOPIC
    assert (request.messages[0].data, dict(request.messages[0].attributes)) == (b"x", {"é": "😀"})
    created = value(ask("PUT", "/v1/projects/p/topics/a%20%C3%A9", b""))
    assert created == {"name": "projects/p/topics/a é"}


def test_enums_are_names_or_numbers(ask: Ask) -> None:
    path = "/v1/projects/p/subscriptions/reader"
    assert value(ask("PUT", path, {}))["state"] == "ACTIVE"
    assert value(ask("PUT", f"{path}?$alt=json;enum-encoding=int", {}))["state"] == 1


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"messages": 5}', b'{"messages": [5]}',
     b'{"messages": [{"data": 5}]}', b'{"messages": [{"unknown": 1}]}', b'{"unknown": 1}',
     b'{"messages": [{"attributes": {"a": "\\ud800"}}]}', b'{"messages": [{"attributes": {"a": 1}}]}'],
)  # fmt: skip
def test_bodies_that_do_not_fit(ask: Ask, publisher: Publisher, body: bytes) -> None:
    error = refusal(ask("POST", f"/v1/{TOPIC}:publish", body), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid JSON payload received.")
    assert publisher.published == []


@pytest.mark.parametrize(
    "query",
    [
        "pageSize=x",
        "pageSize=1.5",
        f"pageSize={2**31}",
        "unknown=1",
        "page_size.x=1",
        "=1",
        "a..b=1",
    ],
)
def test_parameters_that_do_not_fit(ask: Ask, query: str) -> None:
    error = refusal(ask("GET", f"/v1/projects/p/topics?{query}"), 400, "INVALID_ARGUMENT")
    assert error["message"].startswith("Invalid JSON payload received.")


def test_details_of_an_error(ask: Ask) -> None:
    error = refusal(ask("GET", f"/v1/{TOPIC}"), 404, "NOT_FOUND")
    assert error["message"] == f"{TOPIC} is nowhere"
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "MISSING",
            "domain": "pubsub",
        }
    ]


def test_a_bug_is_an_internal_error_that_is_logged(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    error = refusal(ask("DELETE", f"/v1/{TOPIC}"), 500, "INTERNAL")
    assert error["message"] == f"KeyError: '{TOPIC}'"
    assert "pubsub.delete_topic failed" in caplog.text


def test_what_a_class_lacks(ask: Ask) -> None:
    error = refusal(ask("POST", "/v1/projects/p/subscriptions/s:detach"), 501, "UNIMPLEMENTED")
    assert error["message"] == "detach_subscription is not part of the embedded cloud"


def test_operations_are_served_for_every_api(ask: Ask, operations: Operations) -> None:
    name = operations.begin(PARENT).name
    for version in ("v1", "v2"):
        assert value(ask("GET", f"/{version}/{name}")) == {"name": name}
    assert value(ask("POST", f"/v1/{name}:cancel")) == {}
    assert [
        each["name"] for each in value(ask("GET", f"/v1/{PARENT}/operations"))["operations"]
    ] == [name]
    assert value(ask("DELETE", f"/v2/{name}")) == {}
    error = refusal(ask("GET", f"/v1/{name}"), 404, "NOT_FOUND")
    assert error["message"] == f"operation {name} does not exist"


# Faults over REST


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (429, "RESOURCE_EXHAUSTED"),
        (503, "UNAVAILABLE"),
        (500, "INTERNAL"),
        (404, "NOT_FOUND"),
        (412, "FAILED_PRECONDITION"),
    ],
)
def test_refusals_by_fault(
    ask: Ask, faults: Faults, publisher: Publisher, status: int, name: str
) -> None:
    faults.arm("pubsub", "publish", f"return-{status}", contains=TOPIC)
    body = {"messages": [{"data": "eA=="}]}
    error = refusal(ask("POST", f"/v1/{TOPIC}:publish", body), status, name)
    assert error["message"] == f"scripted fault return-{status}"
    assert publisher.published == []
    assert ask("POST", f"/v1/{TOPIC}:publish", body).status == 200


def test_malformed_requests_do_not_use_a_fault_up(ask: Ask, faults: Faults) -> None:
    faults.arm("pubsub", "publish", "return-503")
    assert ask("POST", f"/v1/{TOPIC}:publish", b"{").status == 400
    assert ask("POST", f"/v1/{TOPIC}:publish", {}).status == 503


@pytest.mark.parametrize(
    ("action", "happened", "reset"),
    [
        ("stall-always", 0, False),
        ("return-reset-connection", 0, True),
        ("execute-and-timeout", 1, False),
    ],
)
def test_connections_that_end(
    ask: Ask, faults: Faults, publisher: Publisher, action: str, happened: int, *, reset: bool
) -> None:
    faults.arm("*", "*", action)
    with pytest.raises(Dropped) as caught:
        ask("POST", f"/v1/{TOPIC}:publish", {})
    assert (len(publisher.published), caught.value.reset) == (happened, reset)


def test_answers_that_are_damaged(ask: Ask, faults: Faults) -> None:
    whole = ask("GET", "/v1/projects/p/topics").body
    faults.arm("pubsub", "list_topics", "return-broken-stream")
    broken = ask("GET", "/v1/projects/p/topics")
    assert (broken.body, broken.cut_after_bytes) == (whole, broken.length // 2)
    faults.arm("pubsub", "list_topics", "return-corrupted-data")
    corrupted = ask("GET", "/v1/projects/p/topics")
    assert corrupted.body != whole
    assert corrupted.cut_after_bytes is None


def test_the_endpoint_of_faults(ask: Ask) -> None:
    rule = {"service": "pubsub", "method": "publish", "action": "return-503"}
    (armed,) = value(ask("POST", "/local/faults", rule))["faults"]
    assert armed | rule == armed
    assert value(ask("GET", "/local/faults"))["faults"] == [armed]
    assert ask("POST", f"/v1/{TOPIC}:publish", {}).status == 503
    assert value(ask("GET", "/local/faults"))["faults"][0]["matched"] == 1
    assert value(ask("DELETE", "/local/faults")) == {"faults": []}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Expecting"),
        (b"", "Expecting"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "recursion"),
        (b"5", "must be a mapping"),
        (b"[]", "must be a mapping"),
        (b"{}", "missing"),
        ({"service": "pubsub", "method": "*", "action": "explode"}, "explode"),
        ({"service": "pubsub", "method": "*", "action": 5}, "action 5"),
        ({"service": 5, "method": "*", "action": "return-503"}, "service 5"),
        ({"service": "*", "method": None, "action": "return-503"}, "method None"),
        ({"service": "*", "method": "*", "action": "return-503", "nth": "x"}, "nth 'x'"),
        ({"service": "*", "method": "*", "action": "return-503", "nth": 0}, "nth 0"),
        ({"service": "*", "method": "*", "action": "return-503", "count": "all"}, "count 'all'"),
        ({"service": "*", "method": "*", "action": "return-503", "count": True}, "count True"),
        ({"service": "*", "method": "*", "action": "return-503", "contains": 5}, "contains 5"),
        ({"service": "*", "method": "*", "action": "return-503", "probability": "1"}, "probability '1'"),
        ({"service": "*", "method": "*", "action": "stall-always", "stall_seconds": -1}, "stall_seconds -1"),
        ({"service": "*", "method": "*", "action": "return-503", "more": 1}, "more"),
    ],
)  # fmt: skip
def test_rules_that_are_refused(ask: Ask, body: Any, words: str) -> None:
    answer = ask("POST", "/local/faults", body)
    assert answer.status == 400
    assert words in value(answer)["error"]["message"]
    assert value(ask("GET", "/local/faults")) == {"faults": []}
    assert ask("GET", "/v1/projects/p/topics").status == 200


def test_mounts_come_first_and_get_the_request(hosted: list[Hosted], faults: Faults) -> None:
    mounts = {"/v1/": lambda request: json_response(418, request.path)}
    api = RestApi(hosted, faults=faults, operations=Operations(), mounts=mounts)
    empty = Body(BufferedReader(BytesIO()), Message())
    assert api(Request("GET", "/v1/x", {}, Message(), empty)).status == 418


# gRPC


@pytest.fixture
def channel(hosted: list[Hosted], faults: Faults, operations: Operations) -> Iterator[grpc.Channel]:
    server = GrpcServer(hosted, faults=faults, operations=operations)
    server.start()
    with grpc.insecure_channel(server.target) as channel:
        yield channel
    server.stop()


def invoke(channel: grpc.Channel, path: str, request: bytes = b"") -> bytes:
    return channel.unary_unary(path)(request, timeout=10)


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
    answers = map(types.StreamingPullResponse.deserialize, stream(iter(requests), timeout=10))
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
        assert isinstance(future.exception(timeout=10), grpc.RpcError)


def test_operations_over_grpc(channel: grpc.Channel, operations: Operations) -> None:
    name = operations.done(PARENT).name
    request = operations_pb2.GetOperationRequest(name=name).SerializeToString()
    answer = invoke(channel, "/google.longrunning.Operations/GetOperation", request)
    assert operations_pb2.Operation.FromString(answer).done
