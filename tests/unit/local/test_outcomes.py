"""Armed outcomes: hold, fail, preempt, quota."""

from __future__ import annotations

import json
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from saxflow.errors import InputError
from saxflow.local.http import HttpServer
from saxflow.local.outcomes import Outcomes, outcome_admin


def test_outcome_strikes_matching_names_as_often_as_armed():
    outcomes = Outcomes()
    outcomes.arm("fail", contains="/sf-a", count=2, message="stockout")
    assert outcomes.take("fail", "p/sf-b") is None
    assert outcomes.take("preempt", "p/sf-a") is None
    assert [outcomes.take("fail", "p/sf-a") is not None for _ in range(3)] == [True, True, False]
    assert outcomes.armed()[0]["taken"] == 2


def test_count_none_is_for_ever():
    outcomes = Outcomes()
    outcomes.arm("quota", count=None)
    assert all(outcomes.take("quota", "x") for _ in range(10))


def test_hold_lasts_until_released():
    outcomes = Outcomes()
    outcomes.arm("hold", contains="sf-a")
    outcomes.arm("hold", contains="sf-b")
    assert outcomes.held("sf-a")
    outcomes.release("sf-a")
    assert not outcomes.held("sf-a")
    assert outcomes.held("sf-b")
    outcomes.release()
    assert not outcomes.held("sf-b")


def test_waiting_ends_with_release():
    outcomes = Outcomes()
    outcomes.arm("hold")
    ended: list[bool] = []
    waiter = threading.Thread(
        target=lambda: ended.append(outcomes.wait_released("x", threading.Event()))
    )
    waiter.start()
    outcomes.release()
    waiter.join(5)
    assert ended == [True]


def test_waiting_ends_with_cancellation():
    outcomes, cancelled = Outcomes(), threading.Event()
    outcomes.arm("hold")
    ended: list[bool] = []
    waiter = threading.Thread(target=lambda: ended.append(outcomes.wait_released("x", cancelled)))
    waiter.start()
    cancelled.set()
    outcomes.wake()
    waiter.join(5)
    assert ended == [False]


def test_clear_disarms_everything():
    outcomes = Outcomes()
    outcomes.arm("hold")
    outcomes.arm("fail")
    outcomes.clear()
    assert outcomes.armed() == []
    assert not outcomes.held("x")


@pytest.mark.parametrize(("kind", "when"), [("explode", {}), ("fail", {"often": 2})])
def test_unknown_kind_or_argument_is_refused(kind, when):
    with pytest.raises(InputError, match=kind):
        Outcomes().arm(kind, **when)


def test_admin_endpoint_arms_lists_releases_and_clears():
    outcomes = Outcomes()
    server = HttpServer(outcome_admin(outcomes))
    server.start()

    def call(method, path="/", body=None):
        data = json.dumps(body).encode() if body is not None else None
        with urlopen(Request(server.url + path, data=data, method=method), timeout=5) as reply:
            return [o["kind"] for o in json.load(reply)["outcomes"]]

    assert call("POST", body={"kind": "hold", "contains": "a"}) == ["hold"]
    assert call("POST", body={"kind": "fail", "count": 2}) == ["hold", "fail"]
    assert call("GET") == ["hold", "fail"]
    assert call("DELETE", "/?release=a") == ["fail"]
    assert call("DELETE") == []
    with pytest.raises(HTTPError) as refused:
        call("POST", body={"kind": "explode"})
    refused.value.close()
    server.stop()
