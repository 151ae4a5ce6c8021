"""Buckets: their names, what is kept of them, what clients ask besides."""

from __future__ import annotations

from typing import Any

import pytest

from .paths import BUCKET, ITEM


@pytest.mark.parametrize(
    "name",
    ["", "ab", "Upper", "-begins", "ends-", "a" * 64, "a" * 64 + ".com", "googbucket", "1.2.3.4",
     "a..b", "bücket", 5, None, ["x"]],
)  # fmt: skip
def test_illegal_bucket_names(peer: Any, name: Any) -> None:
    answer = peer.ask("POST", "/storage/v1/b", {"name": name})
    assert answer.status == 400
    assert repr(str(name))[:20] in answer.error["message"]


@pytest.mark.parametrize("name", ["abc", "a" * 63, "under_score", "my.domain.com", "0-1"])
def test_legal_bucket_names(peer: Any, name: str) -> None:
    answer = peer.ask("POST", "/storage/v1/b", {"name": name, "location": "us-central1"})
    assert (answer.status, answer.json["name"]) == (200, name)
    assert (answer.json["location"], answer.json["locationType"]) == ("US-CENTRAL1", "region")
    layout = peer.ask("GET", f"/storage/v1/b/{name}/storageLayout").json
    assert (layout["location"], layout["locationType"]) == ("US-CENTRAL1", "region")
    assert answer.json["selfLink"] == f"{peer.root}/storage/v1/b/{name}"


def test_a_bucket_is_created_once_and_deleted_when_empty(peer: Any) -> None:
    again = peer.ask("POST", "/storage/v1/b", {"name": "buck"})
    assert (again.status, again.error["errors"][0]["reason"]) == (409, "conflict")
    peer.insert("o")
    full = peer.ask("DELETE", BUCKET)
    assert (full.status, full.error["message"]) == (
        409,
        "The bucket you tried to delete is not empty.",
    )
    peer.ask("DELETE", ITEM)
    gone = peer.ask("DELETE", BUCKET)
    assert (gone.status, gone.body) == (204, b"")
    assert peer.ask("GET", BUCKET).error["message"] == "The specified bucket does not exist."


def test_buckets_are_listed_by_project_and_prefix(peer: Any) -> None:
    peer.ask("POST", "/storage/v1/b?project=other", {"name": "elsewhere"})
    peer.ask("POST", "/storage/v1/b", {"name": "bucket-two"})
    listed = peer.ask("GET", "/storage/v1/b").json
    assert (listed["kind"], [each["name"] for each in listed["items"]]) == (
        "storage#buckets",
        ["buck", "bucket-two"],
    )
    assert [
        each["name"] for each in peer.ask("GET", "/storage/v1/b?prefix=bucke").json["items"]
    ] == ["bucket-two"]
    assert peer.ask("GET", "/storage/v1/b?project=nobody").json["items"] == []


def test_pages_of_buckets(peer: Any) -> None:
    for name in ("one", "two"):
        peer.ask("POST", "/storage/v1/b", {"name": name})
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page = peer.ask("GET", f"/storage/v1/b?maxResults=1&pageToken={token}").json
        seen += [each["name"] for each in page["items"]]
        token = page.get("nextPageToken", "")
    assert (seen, token) == (["buck", "one", "two"], "")
    for query in ("maxResults=-1", "maxResults=x", "pageToken=x", f"pageToken={'9' * 5000}"):
        assert peer.ask("GET", f"/storage/v1/b?{query}").status == 400


def test_an_update_of_a_bucket_replaces_what_was_set(peer: Any) -> None:
    peer.ask("PATCH", BUCKET, {"labels": {"a": "1"}, "lifecycle": {"rule": []}})
    updated = peer.ask("PUT", BUCKET, {"labels": {"b": "2"}, "metageneration": "99"}).json
    assert (updated["labels"], "lifecycle" in updated) == ({"b": "2"}, False)
    assert (updated["metageneration"], updated["name"]) == ("3", "buck")


def test_patches_of_a_bucket_are_merged_and_null_removes(peer: Any) -> None:
    peer.ask("PATCH", BUCKET, {"labels": {"a": "1", "b": "2"}, "lifecycle": {"rule": []}})
    patched = peer.ask("PATCH", BUCKET, {"labels": {"a": None, "c": "3"}, "lifecycle": None}).json
    assert patched["labels"] == {"b": "2", "c": "3"}
    assert "lifecycle" not in patched
    assert patched["metageneration"] == "3"


def test_conditions_on_a_bucket(peer: Any) -> None:
    assert peer.ask("GET", f"{BUCKET}?ifMetagenerationMatch=1").status == 200
    assert peer.ask("GET", f"{BUCKET}?ifMetagenerationNotMatch=1").status == 304
    for method, path in (("PATCH", BUCKET), ("DELETE", BUCKET)):
        answer = peer.ask(method, f"{path}?ifMetagenerationMatch=9", {"labels": {}})
        assert answer.status == 412
        assert "ifMetagenerationMatch is 9, the object has 1" in answer.error["message"]
    assert peer.ask("GET", BUCKET).json["metageneration"] == "1"


def test_what_clients_ask_of_a_bucket_besides(peer: Any) -> None:
    layout = peer.ask("GET", f"{BUCKET}/storageLayout").json
    assert layout["hierarchicalNamespace"] == {"enabled": False}
    allowed = peer.ask("GET", f"{BUCKET}/iam/testPermissions?permissions=a&permissions=b").json
    assert allowed == {"permissions": ["a", "b"]}
    agent = peer.ask("GET", "/storage/v1/projects/p/serviceAccount").json
    assert agent["email_address"].endswith("gserviceaccount.com")
    for path in ("", "/storageLayout", "/iam/testPermissions", "/o", "/notificationConfigs"):
        assert peer.ask("GET", f"/storage/v1/b/none{path}").status == 404
