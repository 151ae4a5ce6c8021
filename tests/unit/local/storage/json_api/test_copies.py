"""Objects made of other objects: copies, rewrites, compositions."""

from __future__ import annotations

from typing import Any

import pytest

from .paths import BUCKET, ITEM


def test_copies_obey_both_ends_conditions(peer: Any) -> None:
    generation = peer.insert("o", b"source").json["generation"]
    path = f"{ITEM}/copyTo/b/buck/o/c"
    assert peer.ask("POST", f"{path}?ifSourceGenerationMatch=1").status == 412
    other = f"{path}?ifSourceGenerationNotMatch={generation}"
    assert peer.ask("POST", other).status == 412, "304 is for who reads"
    assert peer.ask("POST", f"{path}?sourceGeneration=1").status == 404
    assert peer.ask("POST", f"{path}?ifGenerationMatch=7").status == 412
    made = peer.ask("POST", f"{path}?ifGenerationMatch=0&ifSourceGenerationMatch={generation}")
    assert (made.status, made.json["name"], made.json["size"]) == (200, "c", "6")
    assert peer.ask("POST", f"{ITEM}/copyTo/b/none/o/c").status == 404
    assert peer.ask("POST", f"{BUCKET}/o/none/copyTo/b/buck/o/c").status == 404
    assert peer.files() == 2


def test_a_copy_keeps_metadata_unless_told_otherwise(peer: Any) -> None:
    peer.insert("o")
    peer.ask("PATCH", ITEM, {"contentType": "a/b", "metadata": {"k": "v"}})
    kept = peer.ask("POST", f"{ITEM}/copyTo/b/buck/o/c", {"unknown": 1}).json
    assert (kept["contentType"], kept["metadata"], kept["metageneration"]) == (
        "a/b",
        {"k": "v"},
        "1",
    )
    told = peer.ask("POST", f"{ITEM}/copyTo/b/buck/o/c", {"contentType": "c/d"}).json
    assert (told["contentType"], "metadata" in told) == ("c/d", False)


def test_a_rewrite_is_done_at_once(peer: Any) -> None:
    peer.insert("o", b"12345")
    answer = peer.ask("POST", f"{ITEM}/rewriteTo/b/buck/o/c").json
    assert (answer["done"], answer["objectSize"], answer["totalBytesRewritten"]) == (True, "5", "5")
    assert "rewriteToken" not in answer
    assert answer["resource"]["name"] == "c"


@pytest.mark.parametrize(
    "sources", [None, [], 5, {}, [{"name": "o"}] * 33, "o"], ids=["none", "empty", "5", "map", "33", "text"]
)  # fmt: skip
def test_how_many_sources_can_be_composed(peer: Any, sources: Any) -> None:
    peer.insert("o")
    answer = peer.ask("POST", f"{BUCKET}/o/c/compose", {"sourceObjects": sources})
    assert (answer.status, answer.error["message"]) == (400, "compose takes 1 to 32 source objects")


@pytest.mark.parametrize("source", [5, None, {}, {"name": ""}, {"generation": 1}])
def test_sources_without_a_name(peer: Any, source: Any) -> None:
    peer.insert("o")
    sources = [{"name": "o"}, source]
    answer = peer.ask("POST", f"{BUCKET}/o/c/compose", {"sourceObjects": sources})
    assert (answer.status, answer.error["message"]) == (400, "sourceObjects[1] has no name")
    assert peer.files() == 1


def test_composing(peer: Any) -> None:
    one = peer.insert("one", b"1").json
    peer.insert("two", b"22")
    path = f"{BUCKET}/o/c/compose"
    sources: list[dict[str, Any]] = [
        {"name": "one", "generation": one["generation"]},
        {"name": "two"},
    ]
    made = peer.ask("POST", path, {"sourceObjects": sources, "destination": {"contentType": "a/b"}})
    assert made.json["componentCount"] == 2
    assert (made.json["contentType"], "md5Hash" in made.json) == ("a/b", False)
    assert peer.ask("GET", f"{BUCKET}/o/c?alt=media").body == b"122"
    sources[1] = {"name": "c"}
    assert peer.ask("POST", path, {"sourceObjects": sources}).json["componentCount"] == 3
    for wrong in ({"name": "none"}, {"name": "two", "generation": 1}):
        assert peer.ask("POST", path, {"sourceObjects": [wrong]}).status == 404
    wrong = {"name": "two", "objectPreconditions": {"ifGenerationMatch": "1"}}
    assert peer.ask("POST", path, {"sourceObjects": [wrong]}).status == 412
    assert peer.ask("POST", f"{path}?ifGenerationMatch=0", {"sourceObjects": sources}).status == 412
    assert peer.files() == 3
