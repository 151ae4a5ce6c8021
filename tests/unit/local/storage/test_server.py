"""Routes, the shape of errors, and faults around every operation."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from saxflow.errors import ConfigurationError
from saxflow.local.clock import VirtualClock
from saxflow.local.faults import Faults
from saxflow.local.storage.server import StorageServer

ITEM = "/storage/v1/b/buck/o/o"


def server(directory: Path, port: int = 0) -> StorageServer:
    return StorageServer(
        directory, clock=VirtualClock(), faults=Faults(), publish=lambda *_: None, port=port
    )


# Routes


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("PUT", "/storage/v1/b"),
        ("POST", "/storage/v1/b/buck"),
        ("GET", "/storage/v1/b/buck/o/raw/slash"),
        ("GET", "/storage/v2/b/buck"),
        ("GET", "/storage/buck/o"),
        ("PUT", "/upload/x"),
        ("POST", "/batch/storage/v1"),
        ("PATCH", "/buck/o"),
        ("GET", "/upload/storage/v1/b/buck/o"),
    ],
)
def test_what_is_no_operation(peer: Any, method: str, path: str) -> None:
    answer = peer.ask(method, path, b"body")
    assert answer.status == 404
    assert answer.error["message"] == f"{method} {path}: no such operation"


def test_names_in_paths_are_decoded_once(peer: Any) -> None:
    peer.insert("a%2Fb")
    peer.insert("a/b")
    assert peer.ask("GET", "/storage/v1/b/buck/o/a%252Fb").json["name"] == "a%2Fb"
    assert peer.ask("GET", "/storage/v1/b/buck/o/a%2Fb").json["name"] == "a/b"
    assert peer.ask("GET", "/buck/a/b").body == b"data"
    assert peer.ask("GET", "/download/storage/v1/b/buck/o/a%2Fb").body == b"data"


@pytest.mark.parametrize("name", ["%ff", "%C3", "a%80b"])
def test_names_that_are_no_utf8(peer: Any, name: str) -> None:
    for method, path in (
        ("GET", f"/storage/v1/b/buck/o/{name}"),
        ("DELETE", f"/storage/v1/b/buck/o/{name}"),
        ("PATCH", f"/storage/v1/b/{name}"),
    ):
        answer = peer.ask(method, path)
        assert answer.status == 400
        assert answer.error["message"].startswith(f"{method} {path}: the name is not UTF-8")


def test_a_bucket_called_like_a_route_is_reached_by_the_json_api(peer: Any) -> None:
    peer.ask("POST", "/storage/v1/b", {"name": "storage"})
    assert peer.ask("GET", "/storage/v1/b/storage/o").status == 200


def test_links_carry_the_name_by_which_the_client_came(peer: Any) -> None:
    peer.insert("o")
    link = peer.ask("GET", ITEM, b"", {"Host": "storage.test:80"}).json["selfLink"]
    assert link == f"http://storage.test:80{ITEM}"


# Errors


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", f"{ITEM}?generation=x", 400, "invalid"),
        ("GET", "/storage/v1/b/none", 404, "notFound"),
        ("DELETE", f"{ITEM}?ifGenerationMatch=1", 412, "conditionNotMet"),
        ("GET", "/storage/v1/b/buck/o?matchGlob=x", 501, "internalError"),
    ],
)
def test_errors_have_googles_shape(
    peer: Any, method: str, path: str, status: int, reason: str
) -> None:
    peer.insert("o")
    answer = peer.ask(method, path)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    (detail,) = answer.error["errors"]
    assert detail == {"message": answer.error["message"], "domain": "global", "reason": reason}


def test_a_range_beyond_the_end_is_an_error_like_others(peer: Any) -> None:
    peer.insert("o")
    answer = peer.ask("GET", f"{ITEM}?alt=media", b"", {"Range": "bytes=4-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */4")
    assert answer.error["errors"][0]["reason"] == "requestedRangeNotSatisfiable"


def test_not_modified_has_no_body(peer: Any) -> None:
    generation = peer.insert("o").json["generation"]
    answer = peer.ask("GET", f"{ITEM}?ifGenerationNotMatch={generation}")
    assert (answer.status, answer.body) == (304, b"")
    assert peer.ask("GET", ITEM).status == 200, "the connection goes on"


# Faults


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/storage/v1/b", "buckets.insert"),
        ("GET", "/storage/v1/b", "buckets.list"),
        ("GET", "/storage/v1/b/buck", "buckets.get"),
        ("PUT", "/storage/v1/b/buck", "buckets.patch"),
        ("DELETE", "/storage/v1/b/buck", "buckets.delete"),
        ("GET", "/storage/v1/b/buck/o", "objects.list"),
        ("GET", "/buck", "objects.list"),
        ("GET", ITEM, "objects.get"),
        ("HEAD", "/buck/o", "objects.get"),
        ("PATCH", ITEM, "objects.patch"),
        ("PUT", ITEM, "objects.update"),
        ("DELETE", ITEM, "objects.delete"),
        ("POST", f"{ITEM}/compose", "objects.compose"),
        ("POST", f"{ITEM}/copyTo/b/buck/o/c", "objects.copy"),
        ("POST", f"{ITEM}/rewriteTo/b/buck/o/c", "objects.rewrite"),
        ("POST", "/upload/storage/v1/b/buck/o?uploadType=media&name=o", "objects.insert"),
        ("POST", "/upload/storage/v1/b/buck/o?uploadType=resumable&name=o", "uploads.start"),
        ("PUT", "/upload/storage/v1/b/buck/o?uploadType=resumable&upload_id=x", "objects.insert"),
        (
            "DELETE",
            "/upload/storage/v1/b/buck/o?uploadType=resumable&upload_id=x",
            "objects.insert",
        ),
        ("PUT", "/buck/o", "objects.insert"),
        ("GET", "/storage/v1/b/buck/notificationConfigs", "notifications.list"),
    ],
)
def test_the_names_by_which_faults_are_armed(peer: Any, method: str, path: str, name: str) -> None:
    peer.faults.arm("storage", name, "return-503")
    assert peer.ask(method, path).status == 503
    assert peer.faults.armed()[0]["matched"] == 1


@pytest.mark.parametrize(
    ("status", "reason", "code"),
    [(401, "authError", "AuthenticationRequired"), (403, "forbidden", "AccessDenied")],
)
def test_refusals_that_only_a_fault_can_bring(
    peer: Any, status: int, reason: str, code: str
) -> None:
    peer.faults.arm("storage", "*", f"return-{status}", count=2)
    answer = peer.ask("GET", ITEM)
    assert (answer.status, answer.error["errors"][0]["reason"]) == (status, reason)
    answer = peer.ask("GET", "/buck/o")
    assert (answer.status, answer.tag("Code")) == (status, code)


def test_a_refusal_by_fault_is_in_the_apis_words(peer: Any) -> None:
    peer.faults.arm("storage", "*", "return-429", count=2)
    answer = peer.ask("GET", ITEM)
    assert answer.error["errors"][0]["reason"] == "rateLimitExceeded"
    assert answer.error["message"] == "scripted fault return-429"
    assert peer.ask("GET", "/buck/o").tag("Code") == "SlowDown"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", ITEM, b""),
        ("POST", "/upload/storage/v1/b/buck/o?uploadType=media&name=o", b"x"),
        ("POST", "/upload/storage/v1/b/buck/o?uploadType=resumable", {"kind": "x", "name": "o"}),
        ("PUT", "/buck/o", b"x"),
        ("GET", "/storage/v1/b/buck/o?prefix=o", b""),
    ],
)
def test_faults_by_subject(peer: Any, method: str, path: str, body: Any) -> None:
    peer.insert("o")
    peer.faults.arm("storage", "*", "return-503", contains="buck/other")
    assert peer.ask(method, path, body).status == 200
    peer.faults.arm("storage", "*", "return-503", contains="buck/o")
    assert peer.ask(method, path, body).status == 503


def test_the_subject_of_a_session_is_its_object(peer: Any) -> None:
    session = peer.session("wanted")
    peer.faults.arm("storage", "objects.insert", "return-503", contains="buck/wanted")
    assert peer.ask("PUT", session, b"x").status == 503
    assert peer.ask("PUT", session, b"x").status == 200


@pytest.mark.parametrize("body", [b"", b'{"name": "\\q"}', b'{"name": 5}', b'"name": "', b"\xff"])
def test_a_subject_that_cannot_be_read_is_no_failure(peer: Any, body: bytes) -> None:
    peer.faults.arm("storage", "uploads.start", "return-503", contains="nothing like it")
    assert peer.ask("POST", "/upload/storage/v1/b/buck/o?uploadType=resumable", body).status != 500


@pytest.mark.parametrize(
    "action", ["return-reset-connection", "return-broken-stream", "stall-always"]
)
def test_calls_that_are_not_answered(peer: Any, action: str) -> None:
    peer.faults.arm("storage", "objects.list", action, stall_seconds=0)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        peer.ask("GET", "/storage/v1/b/buck/o")
    assert peer.ask("GET", "/storage/v1/b/buck/o").status == 200


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", ITEM), ("GET", f"{ITEM}?alt=media"), ("PUT", "/buck/o")]
)
def test_a_lost_answer_is_of_a_call_that_happened(peer: Any, method: str, path: str) -> None:
    before = int(peer.insert("o").json["generation"])
    peer.faults.arm("storage", "*", "execute-and-timeout")
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        peer.ask(method, path, b"new")
    now = peer.ask("GET", ITEM)
    if method == "DELETE":
        assert now.status == 404
    else:
        assert (int(now.json["generation"]) > before) is (method == "PUT")


def test_media_that_breaks_off_or_differs(peer: Any) -> None:
    peer.insert("o", b"0123456789")
    for path in (f"{ITEM}?alt=media", "/buck/o"):
        peer.faults.arm("storage", "objects.get", "return-broken-stream")
        with pytest.raises(http.client.IncompleteRead) as caught:
            peer.ask("GET", path)
        assert caught.value.partial == b"01234"
        peer.faults.arm("storage", "objects.get", "return-corrupted-data")
        assert peer.ask("GET", path).body == bytes([ord("0") ^ 0xFF]) + b"123456789"
        assert peer.ask("GET", path).body == b"0123456789"


def test_corrupted_uploads_are_noticed_by_their_promise(peer: Any) -> None:
    promise = {"x-goog-hash": "crc32c=KaE+qA=="}
    path = "/upload/storage/v1/b/buck/o?uploadType=media&name=o"
    peer.faults.arm("storage", "objects.insert", "return-corrupted-data")
    assert peer.ask("POST", path, b"12345", {}).status == 200, "nothing was promised"
    peer.faults.arm("storage", "objects.insert", "return-corrupted-data")
    assert "CRC32C" in peer.ask("POST", path, b"12345", promise).error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/upload/storage/v1/b/buck/o?uploadType=media&name=o"),
        ("PATCH", ITEM),
        ("PATCH", "/storage/v1/b/buck"),
        ("DELETE", ITEM),
    ],
)
def test_a_full_disk_is_a_service_that_is_unavailable(
    peer: Any, room: Callable[[int], AbstractContextManager[None]], method: str, path: str
) -> None:
    generation = peer.insert("o").json["generation"]
    with room(1):
        answer = peer.ask(method, path, b"{}")
        xml = peer.ask("PUT", "/buck/o", b"data")
    assert (answer.status, answer.error["errors"][0]["reason"]) == (503, "backendError")
    assert (xml.status, xml.tag("Code")) == (503, "ServiceUnavailable")
    assert (peer.ask("GET", ITEM).json["generation"], peer.files()) == (generation, 1)
    assert peer.ask(method, path, b"{}").status < 300


# A server's life


def test_a_port_that_is_taken_is_named(peer: Any, tmp_path: Path) -> None:
    port = int(peer.root.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1: .*; choose another"):
        server(tmp_path, port)


def test_listeners_hear_what_happened(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    one = server(tmp_path)
    one.listen(lambda event, record, _: heard.append((event, record.name)))
    one.start()
    connection = http.client.HTTPConnection(one.url.removeprefix("http://"), timeout=60)
    for method, path, body in (
        ("POST", "/storage/v1/b", b'{"name": "buck"}'),
        ("PUT", "/buck/o", b"1"),
        ("PUT", "/buck/o", b"2"),
        ("PATCH", ITEM, b"{}"),
        ("DELETE", ITEM, b""),
    ):
        connection.request(method, path, body)
        connection.getresponse().read()
    connection.close()
    one.stop()
    assert heard == [
        ("finalized", "o"), ("finalized", "o"), ("deleted", "o"), ("metadataUpdated", "o"),
        ("deleted", "o"),
    ]  # fmt: skip
    assert list((tmp_path / "buck" / "data").iterdir()) == []
