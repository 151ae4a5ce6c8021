"""A Cloud Run function in a process of its own, as the embedded cloud starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from saxflow.local.children import ChildService, function_command

SOURCE = """
import functions_framework, helper, os, threading

both = threading.Barrier(2, timeout=60)

@functions_framework.cloud_event
def on_event(event):
    if event["id"] == "bug":
        raise ValueError("a bug in the function")
    print("got", event["type"], event["subject"], event.data, flush=True)

@functions_framework.http
def answer(request):
    if request.path == "/meet":
        both.wait()
    if request.path == "/bug":
        raise ValueError("a bug in the function")
    body = request.get_data(as_text=True)
    return helper.shout(f"{request.method} {request.path} {os.environ['K_SERVICE']} {body}")
"""
EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-type": "google.cloud.storage.object.v1.finalized",
    "ce-source": "//storage.googleapis.com/projects/_/buckets/b",
    "ce-subject": "objects/ete",
    "Content-Type": "application/json",
}
Start = Callable[[str, str], ChildService]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Return a function that runs one target of the source above."""
    directory = tmp_path_factory.mktemp("function")
    (directory / "main.py").write_text(SOURCE)
    (directory / "helper.py").write_text("def shout(text): return text + '!'")
    services: list[ChildService] = []

    def run(target: str, signature: str) -> ChildService:
        command = function_command(directory, target, signature)
        log = directory / f"{target}.log"
        services.append(ChildService("name", command, dict(os.environ), log))
        services[-1].wait_ready()
        return services[-1]

    yield run
    for service in services:
        service.stop()


@pytest.fixture(scope="module")
def event_function(start: Start) -> ChildService:
    return start("on_event", "cloudevent")


@pytest.fixture(scope="module")
def http_function(start: Start) -> ChildService:
    return start("answer", "http")


def ask(
    service: ChildService, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = HTTPConnection(service.url.removeprefix("http://"), timeout=60)
    try:
        connection.request("POST", path, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def test_an_event_reaches_the_function(event_function: ChildService) -> None:
    body = json.dumps({"name": "été", "generation": "1"}).encode()
    assert ask(event_function, "/", body, EVENT) == (200, "OK")
    logged = event_function.log.read_text()
    assert "got google.cloud.storage.object.v1.finalized objects/ete" in logged
    assert "{'name': 'été', 'generation': '1'}" in logged


def test_a_structured_event_reaches_the_function(event_function: ChildService) -> None:
    attributes = {
        name.removeprefix("ce-"): value for name, value in EVENT.items() if name[:3] == "ce-"
    }
    body = json.dumps({**attributes, "type": "structured", "data": {"n": 1}}).encode()
    assert (
        ask(event_function, "/", body, {"Content-Type": "application/cloudevents+json"})[0] == 200
    )
    assert "got structured objects/ete {'n': 1}" in event_function.log.read_text()


@pytest.mark.parametrize("lacking", ["ce-id", "ce-type", "ce-source", "ce-specversion"])
def test_an_event_without_an_attribute_is_the_senders_fault(
    event_function: ChildService, lacking: str
) -> None:
    headers = {name: value for name, value in EVENT.items() if name != lacking}
    assert ask(event_function, "/", b"{}", headers)[0] == 400


def test_a_function_that_fails_answers_500_and_goes_on(event_function: ChildService) -> None:
    assert ask(event_function, "/", b"{}", EVENT | {"ce-id": "bug"})[0] == 500
    assert "a bug in the function" in event_function.log.read_text()
    assert ask(event_function, "/", b"{}", EVENT)[0] == 200


def test_requests_and_modules_beside_the_source(http_function: ChildService) -> None:
    status, body = ask(http_function, "/some/path", "é".encode())
    assert (status, body) == (200, "POST /some/path name é!")
    assert ask(http_function, "/bug")[0] == 500


def test_requests_are_served_at_once(http_function: ChildService) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(http_function, "/meet")[0]))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200, 200], "each waits for the other"


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["none.py", "answer", "http"], {"PORT": "0"}, "none.py"),
        (["main.py", "nothing", "http"], {"PORT": "0"}, "nothing"),
        (["main.py", "answer", "http"], {}, "PORT"),
        (["main.py", "answer", "http"], {"PORT": "many"}, "many"),
    ],
)
def test_what_cannot_be_served_ends_with_a_reason(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    (tmp_path / "main.py").write_text("def answer(request): return 'x'")
    inherited: dict[str, Any] = {key: value for key, value in os.environ.items() if key != "PORT"}
    ended = subprocess.run(
        [sys.executable, "-m", "saxflow.local.function_host", *arguments],
        cwd=tmp_path, env=inherited | environ, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert words in ended.stderr
