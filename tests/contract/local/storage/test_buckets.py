"""Buckets through google-cloud-storage."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import storage

from .servers import Cloud


def test_buckets_are_created_listed_patched_and_deleted(cloud: Cloud) -> None:
    other = cloud.client.create_bucket("other", location="us-central1")
    assert [each.name for each in cloud.client.list_buckets()] == ["buck", "other"]
    other.labels = {"team": "a"}
    other.patch()
    assert cloud.client.get_bucket("other").labels == {"team": "a"}
    assert cloud.client.get_bucket("other").metageneration == 2
    other.delete()
    assert cloud.client.lookup_bucket("other") is None


def test_a_bucket_begins_empty_after_a_deletion(cloud: Cloud) -> None:
    other = cloud.client.create_bucket("other")
    other.blob("o").upload_from_string(b"x")
    other.delete(force=True)
    cloud.client.create_bucket("other")
    assert list(cloud.client.list_blobs("other")) == []


def test_bucket_conflicts(cloud: Cloud, bucket: storage.Bucket) -> None:
    with pytest.raises(exceptions.Conflict):
        cloud.client.create_bucket("buck")
    bucket.blob("a").upload_from_string(b"")
    with pytest.raises(exceptions.Conflict, match="not empty"):
        bucket.delete()
    with pytest.raises(exceptions.BadRequest):
        cloud.client.create_bucket("UPPER")
    with pytest.raises(exceptions.NotFound):
        cloud.client.bucket("absent").blob("x").upload_from_string(b"")
