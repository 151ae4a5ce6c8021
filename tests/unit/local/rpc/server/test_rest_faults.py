"""Scripted faults over REST, and the endpoint that scripts them."""

from __future__ import annotations

from email.message import Message
from io import BufferedReader, BytesIO
from typing import Any

import pytest

from saxflow.local.faults import Faults
from saxflow.local.http import Body, Dropped, Request, json_response
from saxflow.local.rpc.operations import Operations
from saxflow.local.rpc.server import Hosted, RestApi

from .services import TOPIC, Ask, Publisher, refusal, value


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
