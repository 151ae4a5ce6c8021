"""REST: routes, parameters, bodies, errors."""

from __future__ import annotations

from email.message import Message
from io import BufferedReader, BytesIO

import pytest

from saxflow.local.faults import Faults
from saxflow.local.http import BadBody, Body, Request
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import Hosted, RestApi

from .services import PARENT, TOPIC, Ask, Publisher, refusal, value


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


def test_a_body_that_breaks_off_is_the_peers_fault(
    hosted: list[Hosted], faults: Faults, publisher: Publisher
) -> None:
    api = RestApi(hosted, faults=faults, operations=Operations())
    headers = Message()
    headers["Content-Length"] = "5"
    body = Body(BufferedReader(BytesIO(b"{")), headers)
    with pytest.raises(BadBody, match="ended within the body"):
        api(Request("POST", f"/v1/{TOPIC}:publish", {}, headers, body))
    assert publisher.published == []
