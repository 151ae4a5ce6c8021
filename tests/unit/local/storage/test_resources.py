from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.api_core import exceptions

from saxflow.local.storage.resources import (
    BucketRecord,
    ObjectRecord,
    check_name,
    custom_metadata,
    json_object,
    rfc3339,
)

RECORD = ObjectRecord("b", "a/é", 5, 1, "f", 3, "crc", "md5", "t0", "t0",
                      {"contentType": "x/y"}, {"k": "v"})  # fmt: skip


def test_an_object_as_json() -> None:
    resource = RECORD.resource("http://host")
    assert resource["selfLink"] == "http://host/storage/v1/b/b/o/a%2F%C3%A9"
    assert (resource["generation"], resource["size"], resource["metageneration"]) == ("5", "3", "1")
    assert (resource["contentType"], resource["metadata"]) == ("x/y", {"k": "v"})
    assert (resource["crc32c"], resource["md5Hash"]) == ("crc", "md5")
    assert "componentCount" not in resource


def test_patch_merges_and_update_replaces() -> None:
    fields = {
        "contentType": None,
        "cacheControl": "c",
        "metadata": {"k": None, "n": "1"},
        "size": 9,
    }
    patched = RECORD.patched(fields, updated="t1", whole=False)
    assert patched.attributes == {"cacheControl": "c"}
    assert (patched.metadata, patched.size, patched.updated) == ({"n": "1"}, 3, "t1")
    assert RECORD.patched({"metadata": None}, updated="t", whole=False).metadata == {}
    assert RECORD.patched({}, updated="t", whole=False).metadata == {"k": "v"}
    assert RECORD.patched({}, updated="t", whole=True).attributes == {}


def test_etags_change_with_every_version() -> None:
    assert RECORD.etag != RECORD.patched({}, updated="t", whole=False).etag
    assert ObjectRecord("b", "n", 1, 1, "f", 0, "", "", "t", "t").content_type == "application/octet-stream"  # fmt: skip


def test_custom_metadata_is_text() -> None:
    assert custom_metadata({"metadata": {"a": 1, "b": None}}) == {"a": "1", "b": None}
    assert custom_metadata({}) == {}
    with pytest.raises(exceptions.InvalidArgument):
        custom_metadata({"metadata": "x"})


def test_a_bucket_as_json() -> None:
    record = BucketRecord("b", "p", "t0", "t1", 2, {"location": "X", "name": "ignored"})
    resource = record.resource("http://host")
    assert (resource["name"], resource["location"], resource["metageneration"]) == ("b", "X", "2")


@pytest.mark.parametrize(
    ("given", "location", "kind"),
    [
        (None, "US", "multi-region"),
        ("eu", "EU", "multi-region"),
        ("europe-west4", "EUROPE-WEST4", "region"),
        ("nam4", "NAM4", "dual-region"),
    ],
)
def test_where_a_bucket_is(given: str | None, location: str, kind: str) -> None:
    record = BucketRecord("b", "p", "t0", "t1", 2, {"location": given} if given else {})
    resource = record.resource("http://host")
    assert (resource["location"], resource["locationType"]) == (location, kind)


def test_times_are_of_one_form() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert rfc3339(moment) == "2026-01-02T03:04:05.000000Z"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a\rb", "a\nb", "é" * 513, ".well-known/acme-challenge/"]
)
def test_names_that_are_illegal(name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="name"):
        check_name(name)
    check_name("é" * 512)


def test_bodies_that_are_json_objects() -> None:
    assert json_object(b" \n") == {}
    assert json_object('{"é": "\\ud83d\\ude00"}'.encode()) == {"é": "😀"}


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"5", b"\xff", '{"a": 1}'.encode("utf-16"), b'["\\ud800"]', b"[" * 100_000,
             b'{"a": Infinity}']
)  # fmt: skip
def test_bodies_that_are_none(text: bytes) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Parse Error"):
        json_object(text)
