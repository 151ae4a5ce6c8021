from __future__ import annotations

import pytest

from saxflow.local.delivery import post
from saxflow.local.http import HttpServer, Request, Response


def test_post_sends_path_query_headers_and_body() -> None:
    seen: list[tuple[str, str, str | None, bytes]] = []

    def handle(request: Request) -> Response:
        body = request.body.read()
        seen.append((request.method, request.path, request.first("a"), body))
        return Response(int(request.headers.get("X-Answer") or 0), {}, b"ignored")

    server = HttpServer(handle)
    server.start()
    assert post(f"{server.url}/p?a=1", b"body", {"X-Answer": "418"}, 60) == 418
    server.stop()
    assert seen == [("POST", "/p", "1", b"body")]


def test_nobody_there(dead_address: str) -> None:
    with pytest.raises(OSError):
        post(f"http://{dead_address}", b"", {}, 60)
