"""The XML API by hand: answers, refusals and input that object stores never send."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

OBJECT = "/buck/o"


def refusal(answer: Any, status: int, code: str) -> str:
    """Return the message of a refusal after a look at its shape."""
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/xml; charset=UTF-8"
    assert (answer.xml.tag, answer.tag("Code")) == ("Error", code)
    return answer.tag("Message")


def begin(peer: Any, path: str = OBJECT, headers: dict[str, str] | None = None) -> str:
    answer = peer.ask("POST", f"{path}?uploads", b"", headers)
    assert (answer.xml.tag, answer.tag("Bucket")) == ("InitiateMultipartUploadResult", "buck")
    return f"{path}?uploadId={answer.tag('UploadId')}"


def parts(*numbers: Any) -> bytes:
    inner = "".join(f"<Part><PartNumber>{each}</PartNumber></Part>" for each in numbers)
    return f'<CompleteMultipartUpload xmlns="x">{inner}</CompleteMultipartUpload>'.encode()


# Objects


def test_put_get_head_delete(peer: Any) -> None:
    headers = {"Content-Type": "a/b", "Cache-Control": "no-store", "x-goog-meta-Key": "value"}
    put = peer.ask("PUT", OBJECT, b"12345", headers)
    assert (put.status, put.body) == (200, b"")
    assert put.headers["X-Goog-Metageneration"] == "1"
    get = peer.ask("GET", OBJECT)
    assert (get.body, get.headers["Content-Type"], get.headers["Cache-Control"]) == (
        b"12345",
        "a/b",
        "no-store",
    )
    assert get.headers["X-Goog-Meta-key"] == "value"
    assert get.headers["ETag"] == put.headers["ETag"]
    head = peer.ask("HEAD", OBJECT)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "5")
    assert head.headers["X-Goog-Generation"] == put.headers["X-Goog-Generation"]
    assert peer.ask("DELETE", OBJECT).status == 204
    assert peer.ask("HEAD", OBJECT).status == 404


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_does_not_exist_is_named(peer: Any, method: str) -> None:
    assert "buck/o" in refusal(peer.ask(method, OBJECT), 404, "NoSuchKey")
    words = refusal(peer.ask(method, "/none/o"), 404, "NoSuchBucket")
    assert words == "The specified bucket does not exist."


def test_buckets_that_do_not_exist(peer: Any) -> None:
    for method, path in (("GET", "/none"), ("PUT", "/none/o"), ("POST", "/none/o?uploads")):
        refusal(peer.ask(method, path, b"x"), 404, "NoSuchBucket")


@pytest.mark.parametrize(
    "name", ["x" * 1025, "é" * 513, "a\nb", "..", ".well-known/acme-challenge/x"]
)
def test_illegal_object_names(peer: Any, name: str) -> None:
    peer.insert("o")
    path = f"/buck/{quote(name, safe='')}"
    copy = {"x-goog-copy-source": "buck/o"}
    for method, query, headers in (("PUT", "", {}), ("PUT", "", copy), ("POST", "?uploads", {})):
        answer = peer.ask(method, path + query, b"x", headers)
        assert "Invalid object name" in refusal(answer, 400, "InvalidArgument")
    assert peer.files() == 1


def test_names_that_are_no_utf8(peer: Any) -> None:
    for method in ("GET", "PUT", "DELETE"):
        words = refusal(peer.ask(method, "/buck/%ff", b"x"), 400, "InvalidArgument")
        assert "not UTF-8" in words
    assert peer.ask("HEAD", "/buck/%ff").status == 400
    assert peer.files() == 0


def test_unusual_names(peer: Any) -> None:
    for name in ("été/日本語/😀", "a b+c%41?&<>\"'", "double//slash/"):
        path = f"/buck/{quote(name)}"
        assert peer.ask("PUT", path, name.encode()).status == 200
        assert peer.ask("GET", path).body == name.encode()
        assert name in [each.text for each in peer.ask("GET", "/buck").xml.iter("Key")]


@pytest.mark.parametrize("value", ["x", "1_0", "9" * 30, "-" + "9" * 5000])
def test_numbers_that_are_none(peer: Any, value: str) -> None:
    peer.insert("o")
    header = {"x-goog-if-generation-match": value}
    for method in ("GET", "PUT", "DELETE"):
        refusal(peer.ask(method, OBJECT, b"x", header), 400, "InvalidArgument")
    refusal(peer.ask("GET", f"{OBJECT}?generation={value}"), 400, "InvalidArgument")
    refusal(peer.ask("GET", f"/buck?max-keys={value}"), 400, "InvalidArgument")
    assert peer.ask("GET", OBJECT).body == b"data"


def test_conditions(peer: Any) -> None:
    generation = peer.insert("o").json["generation"]
    wrong, right = ({"x-goog-if-generation-match": each} for each in ("0", generation))
    for method in ("GET", "PUT", "DELETE"):
        words = refusal(peer.ask(method, OBJECT, b"x", wrong), 412, "PreconditionFailed")
        assert f"ifGenerationMatch is 0, the object has {generation}" in words
    assert peer.ask("HEAD", OBJECT, b"", wrong).status == 412
    assert peer.ask("PUT", OBJECT, b"new", right).status == 200
    refusal(peer.ask("DELETE", OBJECT, b"", right), 412, "PreconditionFailed")


def test_etags(peer: Any) -> None:
    etag = peer.ask("PUT", OBJECT, b"x").headers["ETag"]
    for method in ("GET", "HEAD"):
        for same in (etag, f'"other", {etag}', f"W/{etag}", "*"):
            assert peer.ask(method, OBJECT, b"", {"If-Match": same}).status == 200
            kept = peer.ask(method, OBJECT, b"", {"If-None-Match": same})
            assert (kept.status, kept.body) == (304, b"")
        for other in ('"other"', f'{etag[:-1]}0"', f'"0{etag[1:]}'):
            assert peer.ask(method, OBJECT, b"", {"If-Match": other}).status == 412
            assert peer.ask(method, OBJECT, b"", {"If-None-Match": other}).status == 200


@pytest.mark.parametrize("header", ["bytes=5-", "bytes=" + "9" * 5000 + "-", "bytes=-0"])
def test_ranges_beyond_the_end(peer: Any, header: str) -> None:
    peer.insert("o", b"12345")
    answer = peer.ask("GET", OBJECT, b"", {"Range": header})
    refusal(answer, 416, "InvalidRange")
    assert answer.headers["Content-Range"] == "bytes */5"


def test_promises_that_are_not_kept(peer: Any) -> None:
    for headers in ({"x-goog-hash": "crc32c=AAAAAA=="}, {"Content-MD5": "é"}):
        answer = peer.ask("PUT", OBJECT, b"x", headers)
        assert "doesn't match calculated" in refusal(answer, 400, "InvalidArgument")
    assert peer.files() == 0


# Listing


def test_a_listing(peer: Any) -> None:
    for name in ("a&b", "d/1", "d/2", "<é>"):
        peer.insert(name)
    xml = peer.ask("GET", "/buck?delimiter=/").xml
    assert xml.tag == "ListBucketResult"
    assert [each.text for each in xml.iter("Key")] == ["<é>", "a&b"]
    assert [each.findtext("Prefix") for each in xml.iter("CommonPrefixes")] == ["d/"]
    assert (xml.findtext("KeyCount"), xml.findtext("IsTruncated")) == ("3", "false")
    entry = xml.find("Contents")
    assert entry is not None
    assert [each.tag for each in entry] == [
        "Key", "Generation", "MetaGeneration", "LastModified", "ETag", "Size",
    ]  # fmt: skip


def test_pages_of_a_listing(peer: Any) -> None:
    for name in "abc":
        peer.insert(name)
    first = peer.ask("GET", "/buck/?max-keys=2").xml
    assert first.findtext("IsTruncated") == "true"
    token = quote(first.findtext("NextContinuationToken") or "")
    rest = peer.ask("GET", f"/buck?continuation-token={token}").xml
    assert [each.text for each in rest.iter("Key")] == ["c"]
    for parameter in ("start-after", "marker"):
        after = peer.ask("GET", f"/buck?{parameter}=a").xml
        assert [each.text for each in after.iter("Key")] == ["b", "c"]
    nothing = peer.ask("GET", "/buck?max-keys=0").xml
    assert (nothing.findtext("KeyCount"), nothing.find("Contents")) == ("0", None)


@pytest.mark.parametrize("query", ["max-keys=-1", "continuation-token=%3F", "continuation-token=é"])
def test_pages_that_are_none(peer: Any, query: str) -> None:
    refusal(peer.ask("GET", f"/buck?{quote(query, safe='=%')}"), 400, "InvalidArgument")


# Copies


def test_copies(peer: Any) -> None:
    headers = {"Content-Type": "a/b", "x-goog-meta-k": "v"}
    generation = peer.ask("PUT", "/buck/s%20%C3%A9", b"12345", headers).headers["X-Goog-Generation"]
    source = {"x-goog-copy-source": "/buck/s%20%C3%A9"}
    answer = peer.ask("PUT", OBJECT, b"", source)
    assert (answer.xml.tag, answer.tag("ETag")) == ("CopyObjectResult", answer.headers["ETag"])
    copied = peer.ask("GET", OBJECT)
    assert (copied.body, copied.headers["X-Goog-Meta-k"]) == (b"12345", "v")
    exact = source | {"x-goog-copy-source-generation": generation}
    assert peer.ask("PUT", OBJECT, b"", exact).status == 200
    told = source | {"x-goog-metadata-directive": "REPLACE", "Content-Type": "c/d"}
    assert peer.ask("PUT", OBJECT, b"", told).status == 200
    copied = peer.ask("GET", OBJECT)
    assert (copied.headers["Content-Type"], copied.headers["X-Goog-Meta-k"]) == ("c/d", None)


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-goog-copy-source": "none/o"}, 404, "NoSuchBucket"),
        ({"x-goog-copy-source": "buck/none"}, 404, "NoSuchKey"),
        ({"x-goog-copy-source": "buck"}, 404, "NoSuchKey"),
        ({"x-goog-copy-source": "buck/%ff"}, 400, "InvalidArgument"),
        ({"x-goog-copy-source-generation": "1"}, 404, "NoSuchKey"),
        ({"x-goog-copy-source-generation": "x"}, 400, "InvalidArgument"),
        ({"x-goog-copy-source-if-generation-match": "1"}, 412, "PreconditionFailed"),
        ({"x-goog-copy-source-if-metageneration-match": "9"}, 412, "PreconditionFailed"),
        ({"x-goog-if-generation-match": "1"}, 412, "PreconditionFailed"),
    ],
)
def test_copies_that_are_refused(
    peer: Any, headers: dict[str, str], status: int, code: str
) -> None:
    peer.insert("s")
    answer = peer.ask("PUT", OBJECT, b"", {"x-goog-copy-source": "buck/s"} | headers)
    refusal(answer, status, code)
    assert peer.files() == 1


# Multipart uploads


def test_a_multipart_upload(peer: Any) -> None:
    upload = begin(peer, headers={"Content-Type": "a/b", "x-goog-meta-k": "v"})
    for number, data in ((2, b"second"), (1, b"first ")):
        etag = peer.ask("PUT", f"{upload}&partNumber={number}", data).headers["ETag"]
        assert etag.startswith('"')
    answer = peer.ask("POST", upload, parts(1, 2))
    assert (answer.xml.tag, answer.tag("Key")) == ("CompleteMultipartUploadResult", "o")
    made = peer.ask("GET", OBJECT)
    assert (made.body, made.headers["Content-Type"]) == (b"first second", "a/b")
    assert made.headers["X-Goog-Meta-k"] == "v"
    refusal(peer.ask("POST", upload, parts(1)), 404, "NoSuchUpload")


@pytest.mark.parametrize(
    "number", ["", "&partNumber=0", "&partNumber=-1", "&partNumber=10001", "&partNumber=x"]
)
def test_part_numbers_that_are_none(peer: Any, number: str) -> None:
    upload = begin(peer)
    refusal(peer.ask("PUT", f"{upload}{number}", b"x"), 400, "InvalidArgument")
    assert peer.files() == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"<a>", b"<a></b>", parts(), parts(""), parts("x"), parts("-1"), parts("9" * 5000),
     parts(1, 2), b'<!DOCTYPE a [<!ENTITY b "1">]><a><PartNumber>&c;</PartNumber></a>'],
    ids=range(11),
)  # fmt: skip
def test_completions_that_are_refused(peer: Any, body: bytes) -> None:
    upload = begin(peer)
    peer.ask("PUT", f"{upload}&partNumber=1", b"x")
    refusal(peer.ask("POST", upload, body), 400, "InvalidArgument")
    assert peer.files() == 1, "only the part is kept"
    assert peer.ask("POST", upload, parts(1)).status == 200, "the upload goes on"


def test_entities_that_multiply_are_refused(peer: Any) -> None:
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "x" * 100}">' for n in range(10)
    )
    body = f"<!DOCTYPE a [{entities}]><a><PartNumber>&e9;</PartNumber></a>".encode()
    refusal(peer.ask("POST", begin(peer), body), 400, "InvalidArgument")


def test_an_upload_that_is_aborted(peer: Any) -> None:
    upload = begin(peer)
    peer.ask("PUT", f"{upload}&partNumber=1", b"x")
    assert peer.ask("DELETE", upload).status == 204
    assert peer.files() == 0
    for method, query in (("PUT", "&partNumber=1"), ("POST", ""), ("DELETE", "")):
        words = refusal(peer.ask(method, upload + query, parts(1)), 404, "NoSuchUpload")
        assert words.endswith("does not exist.")


def test_the_condition_of_a_completion(peer: Any) -> None:
    peer.insert("o")
    upload = begin(peer)
    peer.ask("PUT", f"{upload}&partNumber=1", b"x")
    absent = {"x-goog-if-generation-match": "0"}
    refusal(peer.ask("POST", upload, parts(1), absent), 412, "PreconditionFailed")
    assert peer.ask("GET", OBJECT).body == b"data"


def test_texts_are_escaped(peer: Any) -> None:
    answer = peer.ask("GET", "/buck/%3C%26%3E")
    assert "<&>" in refusal(answer, 404, "NoSuchKey")
    assert ElementTree.fromstring(answer.body).tag == "Error"
