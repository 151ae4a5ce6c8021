"""Objects that are read, listed, changed and deleted."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from .paths import BUCKET, ITEM


def test_a_media_link_is_of_one_generation(peer: Any) -> None:
    link = peer.insert("o", b"old").json["mediaLink"].removeprefix(peer.root)
    assert peer.ask("GET", link).body == b"old"
    peer.insert("o", b"new")
    answer = peer.ask("GET", link)
    assert answer.status == 404
    assert "No such object: buck/o#" in answer.error["message"]
    assert peer.ask("GET", "/download/storage/v1/b/buck/o/o").body == b"new"


def test_resources_have_googles_types(peer: Any) -> None:
    resource = peer.insert("o", b"12345").json
    for name in ("generation", "metageneration", "size"):
        assert resource[name].isdecimal()
    assert (resource["size"], resource["kind"]) == ("5", "storage#object")
    assert resource["id"] == f"buck/o/{resource['generation']}"
    answer = peer.ask("GET", ITEM)
    assert answer.headers["ETag"] == f'"{answer.json["etag"]}"'
    assert answer.headers["X-Goog-Hash"] == f"crc32c={resource['crc32c']},md5={resource['md5Hash']}"


def test_a_listing_that_finds_nothing_has_no_items(peer: Any) -> None:
    assert peer.ask("GET", f"{BUCKET}/o?prefix=none").json == {"kind": "storage#objects"}


@pytest.mark.parametrize("limit", ["-1", "-9223372036854775808"])
def test_negative_page_sizes(peer: Any, limit: str) -> None:
    answer = peer.ask("GET", f"{BUCKET}/o?maxResults={limit}")
    assert answer.status == 400
    assert f"maxResults is {limit}" in answer.error["message"]


@pytest.mark.parametrize("limit", ["0", "1001", "9223372036854775807"])
def test_page_sizes_beyond_the_largest(peer: Any, limit: str) -> None:
    peer.insert("a")
    peer.insert("b")
    assert len(peer.ask("GET", f"{BUCKET}/o?maxResults={limit}").json["items"]) == 2


def test_pages_with_prefixes_go_on_where_they_ended(peer: Any) -> None:
    for name in ("a", "d/1", "d/2", "e", "é"):
        peer.insert(name)
    seen: list[str] = []
    token = ""
    while True:
        path = f"{BUCKET}/o?delimiter=%2F&maxResults=1&pageToken={quote(token)}"
        page = peer.ask("GET", path).json
        seen += [each["name"] for each in page.get("items", [])] + page.get("prefixes", [])
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert seen == ["a", "d/", "e", "é"]


@pytest.mark.parametrize(("name", "value"), [("matchGlob", "**"), ("softDeleted", "true")])
def test_what_a_listing_cannot_do(peer: Any, name: str, value: str) -> None:
    answer = peer.ask("GET", f"{BUCKET}/o?{name}={value}")
    assert answer.status == 501
    assert answer.error["message"] == f"{name} is not part of the embedded cloud"
    assert peer.ask("GET", f"{BUCKET}/o?{name}=").status == 200


def test_patch_merges_update_replaces(peer: Any) -> None:
    peer.insert("o")
    peer.ask("PATCH", ITEM, {"contentType": "a/b", "metadata": {"x": "1", "y": "2"}})
    patched = peer.ask("PATCH", ITEM, {"metadata": {"x": None, "z": 3}, "unknown": 1}).json
    assert (patched["metadata"], patched["contentType"]) == ({"y": "2", "z": "3"}, "a/b")
    assert (patched["metageneration"], "unknown" in patched) == ("3", False)
    updated = peer.ask("PUT", ITEM, {"metadata": {"only": "é😀"}}).json
    assert (updated["metadata"], "contentType" in updated) == ({"only": "é😀"}, False)
    assert updated["generation"] == patched["generation"]


@pytest.mark.parametrize("metadata", [5, "text", [1], True])
def test_metadata_of_a_wrong_type(peer: Any, metadata: Any) -> None:
    peer.insert("o")
    before = peer.files()
    for method, path in (("PATCH", ITEM), ("POST", f"{ITEM}/copyTo/b/buck/o/copy")):
        answer = peer.ask(method, path, {"metadata": metadata})
        assert answer.status == 400
        assert answer.error["message"] == "metadata must be an object of strings"
    assert peer.files() == before, "a refused copy leaves no data behind"


def test_deleting_what_is_not_there(peer: Any) -> None:
    generation = int(peer.insert("o").json["generation"])
    assert peer.ask("DELETE", f"{ITEM}?generation={generation - 1}").status == 404
    assert peer.ask("DELETE", f"{ITEM}?ifGenerationMatch=0").status == 412
    assert peer.ask("DELETE", f"{ITEM}?generation={generation}").status == 204
    assert peer.ask("DELETE", ITEM).error["message"] == "No such object: buck/o"
