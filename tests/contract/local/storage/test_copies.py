"""Objects made of other objects: copy, rewrite, compose."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import storage

from .servers import Cloud


def test_copy_and_rewrite(cloud: Cloud, bucket: storage.Bucket) -> None:
    cloud.client.create_bucket("other")
    source = bucket.blob("s")
    source.metadata = {"k": "v"}
    source.upload_from_string(b"data", content_type="x/y")
    copied = bucket.copy_blob(source, cloud.client.bucket("other"), "c", if_generation_match=0)
    assert copied.metadata == {"k": "v"}
    assert copied.content_type == "x/y"
    target = bucket.blob("t")
    assert target.rewrite(source) == (None, 4, 4)
    source.delete()
    assert target.download_as_bytes() == b"data"
    assert cloud.client.bucket("other").blob("c").download_as_bytes() == b"data"
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("u").rewrite(target, if_generation_match=5)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("u").rewrite(target, if_source_generation_match=5)
    with pytest.raises(exceptions.NotFound):
        bucket.blob("u").rewrite(source)


def test_compose(bucket: storage.Bucket) -> None:
    parts = [bucket.blob(f"p{n}") for n in range(3)]
    for n, part in enumerate(parts):
        part.upload_from_string(str(n) * 4, content_type="x/y")
    whole = bucket.blob("whole")
    whole.compose(parts, if_generation_match=0)
    assert whole.download_as_bytes() == b"000011112222"
    assert (whole.component_count, whole.md5_hash) == (3, None)
    assert whole.content_type == "x/y"
    with pytest.raises(exceptions.PreconditionFailed):
        whole.compose(parts, if_generation_match=0)
    with pytest.raises(exceptions.NotFound):
        whole.compose([bucket.blob("absent")])
