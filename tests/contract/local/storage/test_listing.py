"""Listings: pages, prefixes, delimiters and offsets, as Google's client reads them."""

from __future__ import annotations

import pytest
import requests
from google.cloud import storage

from .servers import Cloud, names


@pytest.fixture
def tree(bucket: storage.Bucket) -> storage.Bucket:
    for name in ["a", "b/1", "b/2", "b/c/3", "b/c/4", "b0", "d/"]:
        bucket.blob(name).upload_from_string(name)
    return bucket


def test_list_everything_in_order_and_by_pages(tree: storage.Bucket) -> None:
    everything = ["a", "b/1", "b/2", "b/c/3", "b/c/4", "b0", "d/"]
    assert names(tree.list_blobs()) == everything
    for size in (1, 2, 3, 7):
        assert names(tree.list_blobs(page_size=size)) == everything
    assert names(tree.list_blobs(max_results=2)) == ["a", "b/1"]


@pytest.mark.parametrize("page_size", [None, 1, 2])
def test_list_with_prefix_and_delimiter(tree: storage.Bucket, page_size: int | None) -> None:
    assert names(tree.list_blobs(prefix="b/c", page_size=page_size)) == ["b/c/3", "b/c/4"]
    listing = tree.list_blobs(delimiter="/", page_size=page_size)
    assert names(listing) == ["a", "b0"]
    assert listing.prefixes == {"b/", "d/"}
    listing = tree.list_blobs(prefix="b/", delimiter="/", page_size=page_size)
    assert names(listing) == ["b/1", "b/2"]
    assert listing.prefixes == {"b/c/"}


def test_list_with_offsets(tree: storage.Bucket) -> None:
    assert names(tree.list_blobs(start_offset="b/2", end_offset="b0")) == ["b/2", "b/c/3", "b/c/4"]
    trailing = tree.list_blobs(delimiter="/", include_trailing_delimiter=True)
    assert names(trailing) == ["a", "b0", "d/"]


def test_list_is_complete_over_a_thousand(cloud: Cloud, bucket: storage.Bucket) -> None:
    with requests.Session() as session:
        for n in range(1005):
            url = f"{cloud.url}/upload/storage/v1/b/buck/o?uploadType=media&name=k{n:05}"
            session.post(url, data=b"", timeout=60)
    assert len(names(bucket.list_blobs())) == 1005
    assert len(cloud.request("GET", "/storage/v1/b/buck/o").json()["items"]) == 1000


@pytest.mark.parametrize("query", ["matchGlob=**", "softDeleted=true"])
def test_what_listing_cannot_do_is_refused(cloud: Cloud, query: str) -> None:
    assert cloud.request("GET", f"/storage/v1/b/buck/o?{query}").status_code == 501


def test_bad_page_tokens(cloud: Cloud) -> None:
    assert cloud.request("GET", "/storage/v1/b/buck/o?pageToken=%21%21").status_code == 400
