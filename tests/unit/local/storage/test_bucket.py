from __future__ import annotations

from pathlib import Path

import pytest
from google.api_core import exceptions

from saxflow.local.storage.bucket import Bucket
from saxflow.local.storage.resources import BucketRecord, ObjectRecord


def record(name: str, file: str) -> ObjectRecord:
    return ObjectRecord("b", name, 1, 1, file, 0, "", "", "t", "t")


def add(bucket: Bucket, name: str, file: str) -> None:
    bucket.path(file).write_bytes(b"")
    bucket.put(record(name, file))


def test_names_stay_sorted_and_replaced_files_go(tmp_path: Path) -> None:
    bucket = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    for name, file in [("b", "1"), ("a", "2"), ("b", "3")]:
        add(bucket, name, file)
    assert bucket.names == ["a", "b"]
    assert not bucket.path("1").exists()
    bucket.remove(bucket.live["a"])
    assert (bucket.names, list(bucket.live)) == (["b"], ["b"])
    assert not bucket.path("2").exists()
    bucket.journal.close()


def test_files_that_no_record_names_are_swept(tmp_path: Path) -> None:
    first = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    add(first, "kept", "1")
    first.new_path().write_bytes(b"half an upload")
    first.journal.close()
    second = Bucket(first.record, tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["1"]
    assert second.names == ["kept"]


def test_a_deleted_bucket_says_so(tmp_path: Path) -> None:
    bucket = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    bucket.check_alive()
    bucket.deleted = True
    with pytest.raises(exceptions.NotFound):
        bucket.check_alive()
