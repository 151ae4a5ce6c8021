from __future__ import annotations

import json
from email.message import Message
from io import BufferedReader, BytesIO
from typing import Any
from urllib.parse import parse_qs

import pytest

from saxflow.local.arming import fault_admin, outcome_admin
from saxflow.local.faults import Faults
from saxflow.local.http import Body, Handler, Request
from saxflow.local.outcomes import Outcomes

RULE = {"service": "pubsub", "method": "publish", "action": "return-503"}


def ask(handler: Handler, method: str, body: bytes = b"", query: str = "") -> tuple[int, Any]:
    headers = Message()
    headers["Content-Length"] = str(len(body))
    stream = Body(BufferedReader(BytesIO(body)), headers)
    answer = handler(Request(method, "/", parse_qs(query), headers, stream))
    assert isinstance(answer.body, bytes)
    return answer.status, json.loads(answer.body)


def test_faults_come_and_go() -> None:
    faults = Faults()
    handler = fault_admin(faults)
    status, listed = ask(handler, "POST", json.dumps(RULE).encode())
    assert (status, listed) == (200, {"faults": faults.armed()})
    assert ask(handler, "GET") == (200, listed)
    assert ask(handler, "DELETE") == (200, {"faults": []})


def test_outcomes_come_and_go_and_holds_are_released() -> None:
    outcomes = Outcomes()
    handler = outcome_admin(outcomes)
    for outcome in ({"kind": "hold", "contains": "a"}, {"kind": "hold"}, {"kind": "fail"}):
        assert ask(handler, "POST", json.dumps(outcome).encode())[0] == 200
    kept = ask(handler, "DELETE", query="release=a")[1]["outcomes"]
    assert [(each["kind"], each["contains"]) for each in kept] == [("hold", ""), ("fail", "")]
    assert ask(handler, "GET") == (200, {"outcomes": kept})
    assert ask(handler, "DELETE") == (200, {"outcomes": []})


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"5", b"[]", b"null", b'"x"', b"{}", b"[" * 100_000, b'{"kind": ["hold"]}',
     b'{"kind": "hold", "contains": 5}', b'{"kind": "hold", "self": 1}', b'{"1": 2}'],
    ids=range(13),
)  # fmt: skip
def test_what_cannot_be_armed_is_refused(body: bytes) -> None:
    for handler in (fault_admin(Faults()), outcome_admin(Outcomes())):
        status, answer = ask(handler, "POST", body)
        assert (status, answer["error"]["code"]) == (400, 400)
        assert answer["error"]["message"]
        assert list(ask(handler, "GET")[1].values()) == [[]]
