"""Bodies, parameters and names that no client of Google's would send."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from .paths import BUCKET, ITEM, UPLOAD

UNREADABLE = [
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"\xff",
    b"[" * 100_000,
    b'{"x": NaN}',
    b'{"metadata": {"a": "\\ud800"}}',
    b'{"n": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/storage/v1/b"),
        ("PATCH", BUCKET),
        ("PATCH", ITEM),
        ("PUT", ITEM),
        ("POST", f"{ITEM}/compose"),
        ("POST", f"{ITEM}/copyTo/b/buck/o/c"),
        ("POST", f"{UPLOAD}?uploadType=resumable&name=x"),
        ("POST", f"{BUCKET}/notificationConfigs"),
    ],
)
def test_bodies_that_are_no_json_object(peer: Any, method: str, path: str) -> None:
    peer.insert("o")
    for body in UNREADABLE:
        answer = peer.ask(method, path, body)
        assert answer.status == 400, body[:40]
        assert answer.error["message"].startswith("Parse Error")
    assert peer.ask("GET", f"{BUCKET}/o").status == 200


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", ITEM, "generation"),
        ("GET", ITEM, "ifGenerationMatch"),
        ("GET", f"{ITEM}?alt=media", "ifMetagenerationNotMatch"),
        ("PATCH", ITEM, "generation"),
        ("DELETE", ITEM, "ifMetagenerationMatch"),
        ("GET", f"{BUCKET}/o", "maxResults"),
        ("POST", f"{ITEM}/copyTo/b/buck/o/c", "ifSourceGenerationMatch"),
        ("POST", f"{ITEM}/rewriteTo/b/buck/o/c", "sourceGeneration"),
        ("POST", f"{UPLOAD}?uploadType=media&name=o", "ifGenerationMatch"),
    ],
)
def test_numbers_that_are_none(peer: Any, method: str, path: str, name: str) -> None:
    peer.insert("o", b"before")
    mark = "&" if "?" in path else "?"
    for value in ("x", "1.5", "1_0", "+1", " 1", "٣", "9" * 20, "-" + "9" * 5000):
        answer = peer.ask(method, f"{path}{mark}{name}={quote(value)}")
        assert answer.status == 400, value[:40]
        assert answer.error["message"] == f"Invalid value {value[:40]!r} for {name}"
    assert peer.ask("GET", f"{ITEM}?alt=media").body == b"before"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".well-known/acme-challenge/x", "a\nb", "a\rb", "é" * 513]
)
def test_illegal_object_names(peer: Any, name: str) -> None:
    quoted = quote(name, safe="")
    peer.insert("o")
    writes = [
        ("POST", f"{UPLOAD}?uploadType=media&name={quoted}", b"x"),
        ("POST", f"{UPLOAD}?uploadType=resumable&name={quoted}", b""),
        ("POST", f"{UPLOAD}?uploadType=resumable", {"name": name}),
    ]
    if name:
        writes.append(("POST", f"{ITEM}/copyTo/b/buck/o/{quoted}", b""))
        writes.append(("POST", f"{BUCKET}/o/{quoted}/compose", {"sourceObjects": [{"name": "o"}]}))
    for method, path, body in writes:
        answer = peer.ask(method, path, body)
        assert answer.status == 400, path
        assert answer.error["errors"][0]["reason"] == "invalid"
    assert peer.files() == 1


@pytest.mark.parametrize(
    "name", ["été/日本語/😀", "a b+c%41", "a?b#c&d=e", "/lead//double/", "é" * 512, "\x01"]
)
def test_unusual_names_come_back_as_they_were(peer: Any, name: str) -> None:
    quoted = quote(name, safe="")
    created = peer.insert(name, b"here").json
    assert created["name"] == name
    assert peer.ask("GET", created["selfLink"].removeprefix(peer.root)).json["name"] == name
    assert peer.ask("GET", created["mediaLink"].removeprefix(peer.root)).body == b"here"
    assert [each["name"] for each in peer.ask("GET", f"{BUCKET}/o").json["items"]] == [name]
    assert peer.ask("DELETE", f"{BUCKET}/o/{quoted}").status == 204
