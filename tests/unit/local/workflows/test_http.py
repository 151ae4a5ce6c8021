from __future__ import annotations

import json
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from saxflow.local.http import HttpServer, json_response
from saxflow.local.workflows import Cancellation, Cancelled, HttpClient, WorkflowFailure
from saxflow.local.workflows.http import IDLE_LIMIT, HttpRequest, read_request

Send = Callable[..., Any]


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient()
    yield client
    client.close()


@pytest.fixture
def send(client: HttpClient) -> Send:
    def call(method: str, url: str, **arguments: Any) -> Any:
        return client.send(read_request(method, {"url": url, **arguments}), Cancellation())

    return call


def payload(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(WorkflowFailure) as caught:
        call()
    return caught.value.payload


def test_a_map_is_sent_as_json_and_json_comes_back_as_a_map(
    peer: Any, answer: Any, send: Send
) -> None:
    peer.respond = lambda seen: answer.of({"n": 1})
    reply = send("POST", f"{peer.url}/a", body={"x": [1]}, query={"q": "a b", "n": 5, "b": True})
    assert reply["code"] == 200
    assert reply["body"] == {"n": 1}
    assert reply["headers"]["content-type"] == "application/json"
    (seen,) = peer.requests
    assert (seen.method, seen.path, seen.json) == ("POST", "/a?q=a%20b&n=5&b=true", {"x": [1]})
    assert seen.headers["content-type"].startswith("application/json")
    assert "GoogleCloudWorkflows" in seen.headers["user-agent"]
    assert "authorization" not in seen.headers


@pytest.mark.parametrize(
    ("kind", "body", "decoded"),
    [
        ("text/plain", b"hi", "hi"),
        ("application/octet-stream", b"\x00\x01", b"\x00\x01"),
        ("application/json; charset=utf-8", b"[1]", [1]),
        ("application/problem+json", b'{"a":1}', {"a": 1}),
        ("application/json", b"{broken", "{broken"),
        ("application/json", b"", None),
    ],
)
def test_bodies_are_decoded_by_their_type(
    peer: Any, answer: Any, send: Send, kind: str, body: bytes, decoded: Any
) -> None:
    peer.respond = lambda seen: answer(200, body, kind)
    assert send("GET", peer.url)["body"] == decoded


def test_text_bytes_and_forms_are_sent_as_they_are(peer: Any, send: Send) -> None:
    send("POST", peer.url, body="plain", headers={"Content-Type": "text/plain"})
    send("POST", peer.url, body=b"\x00")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    send("POST", peer.url, body={"a": "b c"}, headers=form)
    assert [seen.body for seen in peer.requests] == [b"plain", b"\x00", b"a=b+c"]
    assert peer.requests[1].headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(("kind", "token"), [("OAuth2", "access"), ("OIDC", "identity")])
def test_auth_adds_a_bearer_token(peer: Any, send: Send, kind: str, token: str) -> None:
    send("GET", peer.url, auth={"type": kind})
    assert token in peer.requests[0].headers["authorization"]


@pytest.mark.parametrize("code", [400, 404, 409, 429, 500, 503, 304])
def test_what_is_not_2xx_is_an_http_error(peer: Any, answer: Any, send: Send, code: int) -> None:
    peer.respond = lambda seen: answer(code, b'{"why":"x"}' if code != 304 else b"")
    error = payload(lambda: send("GET", peer.url))
    assert (error["tags"], error["code"]) == (["HttpError"], code)
    assert error["headers"]["content-type"] == "application/json"
    assert error["body"] == ({"why": "x"} if code != 304 else None)


def test_nobody_listening_is_a_connection_failed_error(send: Send, dead_address: str) -> None:
    error = payload(lambda: send("GET", f"http://{dead_address}/"))
    assert error["tags"] == ["ConnectionFailedError"]


def test_a_peer_that_hangs_up_is_a_connection_error(peer: Any, answer: Any, send: Send) -> None:
    peer.respond = lambda seen: answer(drop=True)
    assert payload(lambda: send("POST", peer.url))["tags"] == ["ConnectionError"]
    assert len(peer.requests) == 1


def test_a_body_that_ends_too_early_is_a_connection_error(
    peer: Any, answer: Any, send: Send
) -> None:
    peer.respond = lambda seen: answer(claimed=100)
    assert payload(lambda: send("GET", peer.url))["tags"] == ["ConnectionError"]


def test_a_late_answer_is_a_timeout_error(peer: Any, answer: Any, send: Send) -> None:
    gate = threading.Event()

    def late(seen: Any) -> Any:
        gate.wait(60)
        return answer()

    peer.respond = late
    error = payload(lambda: send("GET", peer.url, timeout=0.1))
    gate.set()
    assert error["tags"] == ["TimeoutError"]


def test_more_than_two_megabytes_are_too_much(peer: Any, answer: Any, send: Send) -> None:
    peer.respond = lambda seen: answer(200, b"x" * (2 * 1024 * 1024 + 1), "text/plain")
    assert payload(lambda: send("GET", peer.url))["tags"] == ["ResourceLimitError"]


def test_connections_are_kept_and_replaced_when_the_peer_closed_them(
    peer: Any, answer: Any, send: Send
) -> None:
    send("GET", peer.url)
    peer.respond = lambda seen: answer(headers={"Connection": "close"})
    send("GET", peer.url)
    send("GET", peer.url)
    ports = [seen.client_port for seen in peer.requests]
    assert ports[0] == ports[1] != ports[2]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_process_may_have_thousands_of_files_open(peer: Any, send: Send) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while stack.enter_context(open(os.devnull)).fileno() < 1100:
            pass
        for _ in range(2):
            assert send("GET", peer.url)["code"] == 200
    ports = [seen.client_port for seen in peer.requests]
    assert ports[0] == ports[1]


def test_connections_to_peers_that_went_away_are_closed(
    send: Send, eventually: Callable[..., None]
) -> None:
    before = open_files()
    for _ in range(5):
        server = HttpServer(lambda _: json_response(200, {}))
        server.start()
        send("GET", server.url)
        server.stop()
    eventually(lambda: open_files() <= before + 1)


def test_after_a_rush_few_connections_are_kept(
    peer: Any, answer: Any, send: Send, eventually: Callable[..., None]
) -> None:
    before, count = open_files(), IDLE_LIMIT + 6
    together = threading.Barrier(count, timeout=60)

    def respond(seen: Any) -> Any:
        together.wait()
        return answer()

    peer.respond = respond
    with ThreadPoolExecutor(count) as pool:
        replies = list(pool.map(lambda _: send("GET", peer.url), range(count)))
    assert len(replies) == count
    eventually(lambda: open_files() <= before + 2 * IDLE_LIMIT)


def test_a_closed_client_keeps_no_connection(
    peer: Any, client: HttpClient, send: Send, eventually: Callable[..., None]
) -> None:
    before = open_files()
    client.close()
    assert send("GET", peer.url)["code"] == 200
    eventually(lambda: open_files() <= before)


def test_a_request_is_sent_once_even_when_a_kept_connection_breaks(
    peer: Any, answer: Any, send: Send
) -> None:
    send("GET", peer.url)
    peer.respond = lambda seen: answer(drop=True)
    assert payload(lambda: send("GET", peer.url))["tags"] == ["ConnectionError"]
    assert len(peer.requests) == 2


def test_redirects_are_followed(peer: Any, answer: Any, send: Send) -> None:
    peer.respond = lambda seen: (
        answer(302, headers={"Location": "/there"}) if seen.path == "/here" else answer.of("ok")
    )
    assert send("GET", f"{peer.url}/here")["body"] == "ok"
    send("POST", f"{peer.url}/here", body={"a": 1})
    assert [(seen.method, seen.body) for seen in peer.requests[-2:]] == [
        ("POST", b'{"a":1}'),
        ("GET", b""),
    ]
    assert send("HEAD", f"{peer.url}/here")["code"] == 200
    assert peer.requests[-1].method == "HEAD"
    peer.respond = lambda seen: answer(302, headers={"Location": "/again"})
    assert "redirects" in payload(lambda: send("GET", peer.url))["message"]


def test_ten_redirects_are_not_too_many(peer: Any, answer: Any, send: Send) -> None:
    def respond(seen: Any) -> Any:
        left = int(seen.path[1:])
        return answer(302, headers={"Location": f"/{left - 1}"}) if left else answer.of("ok")

    peer.respond = respond
    assert send("GET", f"{peer.url}/10")["body"] == "ok"
    error = payload(lambda: send("GET", f"{peer.url}/11"))
    assert "more than 10 redirects" in error["message"]
    assert (error["tags"], error["code"]) == (["HttpError"], 302)


def test_a_fragment_is_not_sent(peer: Any, send: Send) -> None:
    send("GET", f"{peer.url}/a?b=c#d", query={"e": "f"})
    send("GET", f"{peer.url}/a#d")
    assert [seen.path for seen in peer.requests] == ["/a?b=c&e=f", "/a"]


def test_roots_are_mapped_to_local_ones(peer: Any, answer: Any) -> None:
    client = HttpClient({"https://pubsub.googleapis.com": peer.url})
    request = HttpRequest("GET", "https://pubsub.googleapis.com/v1/projects/p/topics")
    assert client.send(request, Cancellation())["code"] == 200
    client.close()
    assert peer.requests[0].path == "/v1/projects/p/topics"


@pytest.mark.parametrize(
    ("arguments", "tag"),
    [
        ({"url": "ftp://x"}, "ValueError"),
        ({"url": "http://"}, "ValueError"),
        ({"url": "http://h:port/"}, "ValueError"),
        ({"url": 5}, "TypeError"),
        ({"url": "http://h", "timeout": 0}, "ValueError"),
        ({"url": "http://h", "timeout": 1801}, "ValueError"),
        ({"url": "http://h", "timeout": "5"}, "TypeError"),
        ({"url": "http://h", "auth": {"type": "Basic"}}, "ValueError"),
        ({"url": "http://h", "headers": []}, "TypeError"),
        ({"url": "http://h", "headers": {"a b": "c"}}, "ValueError"),
        ({"url": "http://h", "headers": {"a": "b\r\nc: d"}}, "ValueError"),
        ({"url": "http://h", "headers": {"a": "\u2028"}}, "ValueError"),
        ({"url": "http://h", "query": "a=b"}, "TypeError"),
        ({"url": "http://h", "body": [1], "headers": {"content-type": "text/plain"}}, "TypeError"),
    ],
)
def test_arguments_that_cannot_be_used(arguments: dict[str, Any], tag: str) -> None:
    assert payload(lambda: read_request("GET", arguments))["tags"] == [tag]


def test_unknown_methods_are_refused() -> None:
    assert payload(lambda: read_request("FETCH", {"url": "http://h"}))["tags"] == ["ValueError"]


def test_cancellation_breaks_a_request_off(peer: Any, answer: Any, client: HttpClient) -> None:
    cancellation, arrived, gate = Cancellation(), threading.Event(), threading.Event()

    def slow(seen: Any) -> Any:
        arrived.set()
        gate.wait(60)
        return answer()

    peer.respond = slow
    outcome: list[BaseException] = []

    def ask() -> None:
        try:
            client.send(read_request("GET", {"url": peer.url}), cancellation)
        except Cancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert arrived.wait(60)
    cancellation.cancel()
    thread.join(60)
    gate.set()
    assert len(outcome) == 1


@pytest.fixture
def dripping() -> Iterator[tuple[str, threading.Event]]:
    """Return the URL of a server that never comes to the end of its answer, and that it has begun."""
    begun, over = threading.Event(), threading.Event()
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(1000)
            connection.sendall(head)
            while not over.wait(0.05):
                connection.sendall(b"x")
                begun.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", begun
        over.set()
        thread.join()


def test_the_timeout_is_for_the_request_as_a_whole(
    dripping: tuple[str, threading.Event], send: Send
) -> None:
    assert payload(lambda: send("GET", dripping[0], timeout=0.5))["tags"] == ["TimeoutError"]


def test_cancellation_breaks_off_an_answer_that_ends_with_its_connection(
    dripping: tuple[str, threading.Event], client: HttpClient
) -> None:
    cancellation, (url, begun) = Cancellation(), dripping
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.send, read_request("GET", {"url": url}), cancellation)
        assert begun.wait(60)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            asked.result(60)


def test_from_a_workflow(peer: Any, answer: Any, run: Callable[..., Any]) -> None:
    peer.respond = lambda seen: answer.of({"path": seen.path}, 404 if "gone" in seen.path else 200)
    source = """
    main:
      params: [root]
      steps:
        - a: {call: http.get, args: {url: '${root + "/a"}'}, result: a}
        - b:
            try: {call: http.request, args: {method: DELETE, url: '${root + "/gone"}'}}
            except:
              as: e
              steps:
                - out: {return: ["${a.body.path}", "${e.code}", '${"HttpError" in e.tags}']}
    """
    assert run(source, peer.url) == ["/a", 404, True]
    assert json.loads(peer.requests[0].body or b"null") is None
