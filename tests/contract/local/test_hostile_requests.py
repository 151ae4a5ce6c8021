"""Requests no client would send: each gets an answer that blames the request, never a 500."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry

TEXT = st.text(max_size=12)
VALUE = TEXT | st.sampled_from(["0", "-1", "1", "true", "media", "multipart", "resumable", "a b"])
BODIES = [
        "", "{", "[]", "1", '"x"', "null", "{}", '{"name": 5}', '{"name": "o", "metadata": 5}',
        '{"sourceObjects": 5}', '{"sourceObjects": [5]}', '{"sourceObjects": [{"name": 5}]}',
        '{"sourceObjects": [{"name": "o", "generation": "x"}]}', '{"name": null}',
        '{"sourceObjects": [{"name": "o", "objectPreconditions": {"ifGenerationMatch": "x"}}]}',
        '{"messages": [{"data": "!"}]}', '{"messages": 5}', '{"maxMessages": -1}', '{"topic": 5}',
        '{"crc32c": 5}', '{"md5Hash": 5}', '{"contentType": 5, "cacheControl": {}}',
    ]  # fmt: skip
STORAGE_PATHS = [
        "/", "//", "/storage/v1/b", "/storage/v1/b/buck", "/storage/v1/b/buck/o",
        "/storage/v1/b/buck/o/o", "/storage/v1/b/buck/o/o/compose", "/download/storage/v1/b/buck/o/o",
        "/storage/v1/b/buck/o/o/copyTo/b/buck/o/c", "/storage/v1/b/buck/o/o/rewriteTo/b/none/o/c",
        "/upload/storage/v1/b/buck/o", "/upload/storage/v1/b/none/o", "/buck", "/buck/o", "/none/o",
        "/storage/v1/b/buck/notificationConfigs", "/storage/v1/b/buck/notificationConfigs/9",
        "/storage/v1/b/buck/o/%00", "/storage/v1/b/buck/o/%ff%fe", "/storage/v1/b/buck/o/%",
    ]  # fmt: skip
REST_PATHS = [
        "/", "/v1", "/v1/projects/p/topics/top", "/v1/projects/p/topics/top:publish",
        "/v1/projects/p/subscriptions/sub", "/v1/projects/p/subscriptions/sub:pull",
        "/v1/projects/p/subscriptions/sub:acknowledge", "/v1/projects/p/locations/l/jobs",
        "/v1/projects/p/locations/l/jobs/j", "/v1/projects/p/locations/l/workflows",
        "/v1/projects/p/locations/l/workflows/w/executions", "/v2/projects/p/locations/l/nodes",
        "/v2/projects/p/locations/l/queuedResources", "/v1/projects/p/locations/l/operations/o",
        "/local/faults", "/local/outcomes", "/v1/projects/%2F/topics/%00", "/v1/projects/p/topics/%ff",
    ]  # fmt: skip
QUERY = st.dictionaries(
    st.sampled_from(
        ["alt", "name", "uploadType", "upload_id", "uploadId", "uploads", "partNumber", "generation",
         "ifGenerationMatch", "ifMetagenerationNotMatch", "maxResults", "max-keys", "pageToken",
         "continuation-token", "delimiter", "prefix", "project", "pageSize", "filter", "$alt",
         "jobId", "queuedResourceId", "x"]
    ),
    VALUE,
    max_size=3,
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Range", "Content-Range", "Content-Type", "x-goog-hash", "Content-MD5", "If-Match",
         "x-goog-if-generation-match", "x-goog-copy-source", "X-Upload-Content-Type"]
    ),
    st.sampled_from(
        ["", "x", "bytes=0-1", "bytes=9-", "bytes 0-1/2", "bytes */*", "crc32c=x", "buck/o", "none/o",
         "multipart/related", "multipart/related; boundary=x", "0", "é"]
    ),
    max_size=3,
)  # fmt: skip
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    directory: Path = tmp_path_factory.mktemp("data")
    cloud = LocalCloud(directory, project="p", location="l", images=ImageRegistry())
    cloud.start()
    yield cloud
    cloud.stop()


def status(
    root: str, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: str
) -> int:
    connection = http.client.HTTPConnection(root.removeprefix("http://"), timeout=20)
    pairs = "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())
    encoded = {key: value.encode("latin-1") for key, value in headers.items()}
    try:
        connection.request(method, f"{path}?{pairs}", body.encode(), encoded)
        return connection.getresponse().status
    finally:
        connection.close()


def test_every_body_everywhere(cloud: LocalCloud) -> None:
    rest = cloud.environ()["SAXFLOW_REST_ENDPOINT"]
    places = [(cloud.storage.url, path) for path in STORAGE_PATHS]
    places += [(rest, path) for path in REST_PATHS]
    broken: list[tuple[str, str, str]] = []
    for method, (root, path), body in product(METHODS, places, BODIES):
        status(cloud.storage.url, "POST", "/upload/storage/v1/b/buck/o", {"name": "o"}, {}, "x")
        if status(root, method, path, {}, {}, body) == 500:
            broken.append((method, path, body))
    assert broken == []


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(METHODS),
    st.sampled_from(STORAGE_PATHS),
    QUERY,
    HEADERS,
    st.sampled_from(BODIES),
)
def test_storage(
    cloud: LocalCloud, method: str, path: str, query: dict[str, str], headers: dict[str, str],
    body: str,
) -> None:  # fmt: skip
    root = cloud.storage.url
    status(root, "POST", "/storage/v1/b", {}, {}, '{"name": "buck"}')
    status(root, "POST", "/upload/storage/v1/b/buck/o", {"name": "o"}, {}, "data")
    assert status(root, method, path, query, headers, body) != 500


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(METHODS), st.sampled_from(REST_PATHS), QUERY, st.sampled_from(BODIES))
def test_rest(cloud: LocalCloud, method: str, path: str, query: dict[str, str], body: str) -> None:
    root = cloud.environ()["SAXFLOW_REST_ENDPOINT"]
    assert status(root, method, path, query, {}, body) != 500
