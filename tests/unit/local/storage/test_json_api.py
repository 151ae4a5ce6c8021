"""The JSON API by hand: what Google's client would never send, and what it never looks at."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

BUCKET = "/storage/v1/b/buck"
ITEM = f"{BUCKET}/o/o"
UPLOAD = "/upload/storage/v1/b/buck/o"
TOPIC = "//pubsub.googleapis.com/projects/p/topics/events"
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


# Buckets


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
    assert answer.json["location"] == "us-central1"
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


# Bodies and parameters


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


# Names


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


# Reading and listing


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


# Changing


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


# Copies and compositions


def test_copies_obey_both_ends_conditions(peer: Any) -> None:
    generation = peer.insert("o", b"source").json["generation"]
    path = f"{ITEM}/copyTo/b/buck/o/c"
    assert peer.ask("POST", f"{path}?ifSourceGenerationMatch=1").status == 412
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


# Uploads


def multipart(metadata: bytes, media: bytes) -> bytes:
    return (
        b"--sep\r\nContent-Type: application/json\r\n\r\n" + metadata
        + b"\r\n--sep\r\nContent-Type: text/plain\r\n\r\n" + media + b"\r\n--sep--"
    )  # fmt: skip


MULTIPART = {"Content-Type": "multipart/related; boundary=sep"}


def test_multipart_takes_name_and_type_from_its_parts(peer: Any) -> None:
    body = multipart('{"name": "é", "metadata": {"k": "v"}}'.encode(), b"a --sep is no end")
    made = peer.ask("POST", f"{UPLOAD}?uploadType=multipart", body, MULTIPART).json
    assert (made["name"], made["contentType"], made["size"]) == ("é", "text/plain", "17")
    named = multipart(b'{"name": "ignored", "contentType": "a/b"}', b"")
    made = peer.ask("POST", f"{UPLOAD}?uploadType=multipart&name=asked", named, MULTIPART).json
    assert (made["name"], made["contentType"], made["size"]) == ("asked", "a/b", "0")


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "names no boundary"),
        (b"", MULTIPART, "ends before its closing boundary"),
        (multipart(b'{"name": "o"}', b"x")[:-5], MULTIPART, "ends before its closing boundary"),
        (multipart(b"{", b"x"), MULTIPART, "Parse Error"),
        (multipart(b"[]", b"x"), MULTIPART, "Parse Error"),
        (multipart(b'{"name": "\\ud800"}', b"x"), MULTIPART, "Parse Error"),
        (multipart(b"{}", b"x"), MULTIPART, "Required parameter: name"),
        (multipart(b'{"name": "o", "metadata": 5}', b"x"), MULTIPART, "metadata must be an object"),
        (multipart(b'{"name": "o", "crc32c": "AAAAAA=="}', b"x"), MULTIPART, "CRC32C"),
        (multipart(b'{"name": "o", "crc32c": 5}', b"x"), MULTIPART, "CRC32C"),
        (multipart(b'{"name": "o", "md5Hash": "AAAA"}', b"x"), MULTIPART, "MD5"),
    ],
)
def test_multipart_uploads_that_are_refused(
    peer: Any, body: bytes, headers: dict[str, str], words: str
) -> None:
    answer = peer.ask("POST", f"{UPLOAD}?uploadType=multipart", body, headers)
    assert answer.status == 400
    assert words in answer.error["message"]
    assert peer.files() == 0


def test_a_media_upload_keeps_type_and_encoding(peer: Any) -> None:
    path = f"{UPLOAD}?uploadType=media&name=o&contentEncoding=gzip"
    made = peer.ask("POST", path, b"zipped", {"Content-Type": "text/plain"}).json
    assert (made["contentType"], made["contentEncoding"]) == ("text/plain", "gzip")


def test_promises_that_are_not_kept(peer: Any) -> None:
    for headers in ({"x-goog-hash": "crc32c=AAAAAA=="}, {"Content-MD5": "no base64"}):
        path = f"{UPLOAD}?uploadType=media&name=o"
        answer = peer.ask("POST", path, b"x", headers)
        assert answer.status == 400
        assert "doesn't match calculated" in answer.error["message"]
    assert peer.files() == 0


def test_a_session_from_start_to_end(peer: Any) -> None:
    path = f"{UPLOAD}?uploadType=resumable"
    opened = peer.ask("POST", path, {"name": "o"}, {"X-Upload-Content-Type": "text/plain"})
    session = opened.headers["Location"].removeprefix(peer.root)
    assert opened.headers["X-GUploader-UploadID"] in session
    query = {"Content-Range": "bytes */*"}
    status = peer.ask("PUT", session, b"", query)
    assert (status.status, status.headers["Range"]) == (308, None)
    chunk = b"x" * 262144
    more = peer.ask("PUT", session, chunk, {"Content-Range": "bytes 0-262143/*"})
    assert (more.status, more.headers["Range"]) == (308, "bytes=0-262143")
    done = peer.ask("PUT", session, b"y", {"Content-Range": "bytes 262144-262144/262145"})
    assert (done.status, done.json["size"], done.json["contentType"]) == (
        200,
        "262145",
        "text/plain",
    )
    assert peer.ask("PUT", session, b"", query).json == done.json, "an answer that was lost"


def test_a_session_in_one_request(peer: Any) -> None:
    assert peer.ask("PUT", peer.session("whole"), b"12345").json["size"] == "5"
    assert peer.ask("PUT", peer.session("empty"), b"").json["size"] == "0"
    done = peer.ask("PUT", peer.session("none"), b"", {"Content-Range": "bytes */0"})
    assert done.json["size"] == "0"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("bytes", b"x"),
        ("bytes 0-0", b"x"),
        ("items 0-0/1", b"x"),
        ("bytes -1-0/1", b"x"),
        ("bytes 1-0/2", b""),
        ("bytes 0-9/5", b"x" * 10),
        ("bytes 0-0/" + "9" * 5000, b"x"),
        ("bytes 0-9/10", b"short"),
        ("bytes 0-1/2", b"too long"),
        ("bytes 1-1/2", b"x"),
        ("bytes 0-4/*", b"12345"),
    ],
)
def test_chunks_that_do_not_fit(peer: Any, header: str, body: bytes) -> None:
    session = peer.session()
    answer = peer.ask("PUT", session, body, {"Content-Range": header})
    assert answer.status == 400
    assert answer.error["errors"][0]["reason"] == "invalid"
    assert peer.ask("GET", ITEM).status == 404
    status = peer.ask("PUT", session, b"", {"Content-Range": "bytes */*"})
    assert (status.status, status.headers["Range"]) == (308, None), "the session goes on"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("query", ["", "?upload_id=", "?upload_id=none"])
def test_sessions_that_are_none(peer: Any, method: str, query: str) -> None:
    answer = peer.ask(method, f"{UPLOAD}{query}", b"x")
    assert answer.status == 404
    assert "does not exist" in answer.error["message"]


def test_a_cancelled_session(peer: Any) -> None:
    session = peer.session()
    assert peer.ask("DELETE", session).status == 499
    assert peer.ask("PUT", session, b"x").status == 404
    assert peer.files() == 0


def test_a_session_that_cannot_win_is_not_opened(peer: Any) -> None:
    peer.insert("o")
    path = f"{UPLOAD}?uploadType=resumable&name=o&ifGenerationMatch=0"
    assert peer.ask("POST", path).status == 412
    assert peer.ask("POST", path.replace("/buck/", "/none/")).status == 404


# Notifications


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "topic ''"),
        ({"topic": "projects/p/topics/t"}, "topic 'projects/p/topics/t'"),
        ({"topic": "//pubsub.googleapis.com/projects/"}, "topic"),
        ({"topic": 5}, "topic '5'"),
        ({"topic": TOPIC, "event_types": 5}, "event_types 5"),
        ({"topic": TOPIC, "event_types": ["OBJECT_MOVED"]}, "OBJECT_MOVED"),
        ({"topic": TOPIC, "event_types": [{}]}, "event_types"),
        ({"topic": TOPIC, "payload_format": "XML"}, "payload_format 'XML'"),
        ({"topic": TOPIC, "payload_format": []}, "payload_format []"),
        ({"topic": TOPIC, "object_name_prefix": 5}, "object_name_prefix 5"),
        ({"topic": TOPIC, "custom_attributes": "x"}, "custom_attributes 'x'"),
        ({"topic": TOPIC, "custom_attributes": {"a": 1}}, "custom_attributes"),
    ],
)
def test_notifications_that_cannot_be_sent(peer: Any, fields: dict[str, Any], words: str) -> None:
    answer = peer.ask("POST", f"{BUCKET}/notificationConfigs", fields)
    assert answer.status == 400
    assert words in answer.error["message"]
    assert peer.insert("o").status == 200
    assert peer.published == []


def test_notifications(peer: Any) -> None:
    path = f"{BUCKET}/notificationConfigs"
    made = peer.ask("POST", path, {"topic": TOPIC, "event_types": ["OBJECT_FINALIZE"]}).json
    assert made["payload_format"] == "JSON_API_V1"
    own = f"{path}/{made['id']}"
    assert peer.ask("GET", own).json == made
    assert peer.ask("GET", path).json["items"] == [made]
    generation = peer.insert("é").json["generation"]
    (message,) = peer.published
    assert message[0] == "projects/p/topics/events"
    assert json.loads(message[1])["name"] == message[2]["objectId"] == "é"
    assert message[2]["objectGeneration"] == generation
    assert peer.ask("DELETE", own).status == 204
    for method in ("GET", "DELETE"):
        answer = peer.ask(method, own)
        assert answer.status == 404
        assert answer.error["message"] == f"notification {made['id']} of buck does not exist"


def test_a_bucket_that_is_made_again_has_no_notifications(peer: Any) -> None:
    peer.ask("POST", f"{BUCKET}/notificationConfigs", {"topic": TOPIC})
    assert peer.ask("DELETE", BUCKET).status == 204
    peer.ask("POST", "/storage/v1/b", {"name": "buck"})
    assert peer.ask("GET", f"{BUCKET}/notificationConfigs").json["items"] == []
    peer.insert("o")
    assert peer.published == []
