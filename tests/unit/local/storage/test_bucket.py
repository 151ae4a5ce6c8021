from __future__ import annotations

from pathlib import Path

import pytest
from google.api_core import exceptions

from saxflow.local.storage import bucket as module
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
    bucket.close()


def test_files_that_no_record_names_are_swept(tmp_path: Path) -> None:
    first = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    add(first, "kept", "1")
    first.new_path().write_bytes(b"half an upload")
    first.close()
    second = Bucket(first.record, tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["1"]
    assert second.names == ["kept"]


def test_a_deleted_bucket_says_so(tmp_path: Path) -> None:
    bucket = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    with bucket.changing():
        pass
    bucket.close()
    with pytest.raises(exceptions.NotFound), bucket.changing():
        pass


def test_an_object_whose_data_is_of_another_bucket_is_refused(tmp_path: Path) -> None:
    bucket = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    with pytest.raises(exceptions.NotFound, match="bucket"):
        bucket.put(record("a", "1"))
    assert (bucket.names, bucket.live) == ([], {})


def test_the_journal_of_what_is_overwritten_does_not_grow_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAST_LINES", 10)
    bucket = Bucket(BucketRecord("b", "p", "t", "t"), tmp_path)
    add(bucket, "kept", "1")
    for number in range(100):
        add(bucket, "o", f"o{number}")
        assert len((tmp_path / "journal.jsonl").read_bytes().splitlines()) <= 11
    bucket.close()
    again = Bucket(bucket.record, tmp_path)
    assert {name: each.file for name, each in again.live.items()} == {"kept": "1", "o": "o99"}
