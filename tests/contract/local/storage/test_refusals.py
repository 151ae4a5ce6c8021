"""What Cloud Storage refuses is refused in its words, and leaves nothing behind."""

from __future__ import annotations

import pytest
from google.cloud import storage

from .servers import Cloud


def test_errors_have_googles_shape(cloud: Cloud) -> None:
    reply = cloud.request("GET", "/storage/v1/b/buck/o/absent")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (404, 404)
    assert error["message"] == "No such object: buck/absent"
    assert error["errors"][0]["reason"] == "notFound"
    assert cloud.insert("x", b"", ifGenerationMatch="5").json()["error"]["errors"][0][
        "reason"
    ] == "conditionNotMet"  # fmt: skip
    assert cloud.request("POST", "/storage/v1/b", data=b"{").status_code == 400
    assert cloud.request("GET", "/storage/v1/nothing").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-hash": "crc32c=AAAAAA=="},
        {"x-goog-hash": "md5=1B2M2Y8AsgTpgAmY7PhCfg=="},
        {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    ],
)
def test_wrong_checksums_are_refused(cloud: Cloud, headers: dict[str, str]) -> None:
    path = "/upload/storage/v1/b/buck/o?uploadType=media&name=bad"
    reply = cloud.request("POST", path, data=b"data", headers=headers)
    assert reply.status_code == 400
    assert "doesn't match calculated" in reply.json()["error"]["message"]
    assert cloud.client.bucket("buck").get_blob("bad") is None
    assert list(cloud.server.store.bucket("buck").path("").iterdir()) == []


def test_raw_slashes_in_object_names_are_no_route(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("a/b").upload_from_string(b"x")
    assert cloud.request("GET", "/storage/v1/b/buck/o/a/b").status_code == 404
    assert cloud.request("GET", "/storage/v1/b/buck/o/a%2Fb").status_code == 200


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\nb", ".", ".."])
def test_illegal_object_names(cloud: Cloud, name: str) -> None:
    assert cloud.insert(name, b"").status_code == 400


def test_hostile_metadata_cannot_forge_headers(cloud: Cloud, bucket: storage.Bucket) -> None:
    fields = {"contentType": "a/b\r\nX-Forged: 1", "metadata": {"n": 5, "k\r\nX-Forged": "1"}}
    session = cloud.start_session("h", fields)
    assert cloud.put(session, b"x", "bytes 0-0/1").status_code == 200
    reply = cloud.request("GET", "/storage/v1/b/buck/o/h?alt=media")
    assert "X-Forged" not in reply.headers
    assert bucket.get_blob("h").metadata["n"] == "5"
    path = "/upload/storage/v1/b/buck/o?uploadType=resumable&name=bad"
    session = cloud.request("POST", path, json={"metadata": [1]}).headers["Location"]
    session = session.removeprefix(cloud.url)
    assert cloud.put(session, b"x", "bytes 0-0/1").status_code == 400
