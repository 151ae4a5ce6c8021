from __future__ import annotations

import io
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from email.message import Message

import pytest

from saxflow.local.clock import RealClock, VirtualClock
from saxflow.local.http import Body, Request
from saxflow.local.workflows.callbacks import MOUNT, ExecutionCallbacks
from saxflow.local.workflows.failures import Cancelled, WorkflowFailure
from saxflow.local.workflows.runtime import Cancellation

NAME = "projects/p/locations/l/workflows/w/executions/e"


def request(body: bytes = b"{}", kind: str = "application/json", method: str = "POST") -> Request:
    headers = Message()
    headers["Content-Type"] = kind
    headers["Content-Length"] = str(len(body))
    return Request(method, "/", {"q": ["1"]}, headers, Body(io.BytesIO(body), headers))


def opened(callbacks: ExecutionCallbacks) -> tuple[str, str]:
    url = callbacks.create("POST")
    return url, url.rpartition("/")[2]


def test_a_request_that_came_before_is_kept_and_a_second_waits_its_turn() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    url, callback = opened(callbacks)
    assert url.startswith(f"http://h{MOUNT}/v1/{NAME}/callbacks/")
    assert callbacks.deliver(callback, request(b'{"n": 1}')).status == 200
    assert callbacks.deliver(callback, request()).status == 429
    received = callbacks.wait(url, 5, Cancellation())
    assert received is not None
    assert received["http_request"]["body"] == {"n": 1}
    assert received["http_request"]["query"] == {"q": "1"}
    assert received["type"] == "HTTP"
    assert callbacks.deliver(callback, request()).status == 200


@pytest.mark.parametrize(
    ("kind", "body", "decoded"),
    [("text/plain", b"hi", "hi"), ("image/png", b"\x00", b"\x00"), ("application/json", b"{", "{")],
)
def test_bodies_are_decoded_by_their_type(kind: str, body: bytes, decoded: object) -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    url, callback = opened(callbacks)
    callbacks.deliver(callback, request(body, kind))
    received = callbacks.wait(url, 5, Cancellation())
    assert received is not None
    assert received["http_request"]["body"] == decoded


def test_unknown_endpoints_and_wrong_methods_are_refused() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    _, callback = opened(callbacks)
    assert callbacks.deliver("nothing", request()).status == 404
    assert callbacks.deliver(callback, request(method="GET")).status == 405


def test_waiting_ends_with_its_time() -> None:
    clock = VirtualClock(0.0, auto=True)
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", clock)
    assert callbacks.wait(callbacks.create("POST"), 43_200, Cancellation()) is None
    assert clock.time() == 43_200


def test_waiting_ends_when_the_request_comes() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    url, callback = opened(callbacks)
    timer = threading.Timer(0.05, callbacks.deliver, (callback, request(b"5")))
    timer.start()
    received = callbacks.wait(url, 60, Cancellation())
    timer.join()
    assert received is not None
    assert received["http_request"]["body"] == 5


def test_waiting_ends_with_cancellation() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    cancellation = Cancellation()
    timer = threading.Timer(0.05, cancellation.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        callbacks.wait(callbacks.create("POST"), 60, cancellation)
    timer.join()


class Attentive(RealClock):
    """Tells how many have begun to wait."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        self.waiting.release()
        return super().sleep(seconds, cancel)


def test_each_of_two_that_wait_takes_a_request_of_its_own() -> None:
    clock = Attentive()
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", clock)
    url, callback = opened(callbacks)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(callbacks.wait, url, 60, Cancellation()) for _ in range(2)]
        for _ in waits:
            assert clock.waiting.acquire(timeout=60)
        assert callbacks.deliver(callback, request(b"1")).status == 200
        first, others = wait(waits, 60, FIRST_COMPLETED)
        assert len(others) == 1
        assert callbacks.deliver(callback, request(b"2")).status == 200
        received = [each.result(60) for each in (*first, *others)]
    assert [each and each["http_request"]["body"] for each in received] == [1, 2]


class Stalled(io.BytesIO):
    """A body that comes only when the gate opens."""

    def __init__(self) -> None:
        super().__init__(b"{}")
        self.reading, self.gate = threading.Event(), threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.reading.set()
        self.gate.wait(60)
        return super().read(size)

    read1 = read


def test_a_request_that_stalls_holds_nobody_up() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    url, callback = opened(callbacks)
    slow, stalled = request(), Stalled()
    slow.body = Body(stalled, slow.headers)
    with ThreadPoolExecutor(2) as pool:
        late = pool.submit(callbacks.deliver, callback, slow)
        assert stalled.reading.wait(60)
        prompt = pool.submit(callbacks.deliver, callback, request(b"1"))
        done, _ = wait([prompt], 60)
        stalled.gate.set()
        assert done == {prompt}
        assert (prompt.result().status, late.result(60).status) == (200, 429)
    assert callbacks.wait(url, 60, Cancellation()) is not None


def test_who_gave_up_takes_nothing() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", VirtualClock(auto=True))
    url, callback = opened(callbacks)
    assert callbacks.wait(url, 1, Cancellation()) is None
    assert callbacks.deliver(callback, request(b"1")).status == 200
    assert callbacks.deliver(callback, request(b"2")).status == 429
    assert callbacks.wait(url, 1, Cancellation())["http_request"]["body"] == 1


def test_endpoints_of_another_execution_cannot_be_awaited() -> None:
    callbacks = ExecutionCallbacks(NAME, lambda: "http://h", RealClock())
    with pytest.raises(WorkflowFailure, match="not created by this execution"):
        callbacks.wait("http://h/other/callbacks/1", 1, Cancellation())
