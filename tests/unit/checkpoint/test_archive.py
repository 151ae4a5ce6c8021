"""Zip archives made to deceive, and torch's own."""

import io
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch.utils.serialization import config

from saxflow.checkpoint.archive import read_archive
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.errors import WeightsError


def archive_of(folder: Path, data: bytes):
    (folder / "x.pth").write_bytes(data)
    return read_archive(LocalDirectory(folder), "x.pth", len(data))


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zipped(entries, method=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_entries_of_a_torch_archive_lie_where_zipfile_finds_them(tmp_path):
    data = saved({"a": torch.arange(1000, dtype=torch.float32), "b": torch.ones(3)})
    archive = archive_of(tmp_path, data)
    with zipfile.ZipFile(io.BytesIO(data)) as reference:
        for info in reference.infolist():
            entry = archive.entries[info.filename.partition("/")[2]]
            assert data[entry.start :][: entry.size_bytes] == reference.read(info)


def test_archives_of_other_writers_are_found_by_their_headers(tmp_path):
    archive = archive_of(tmp_path, zipped([("a/data.pkl", b"pickle"), ("a/data/0", b"12345")]))
    entry = archive.entries["data/0"]
    assert (tmp_path / "x.pth").read_bytes()[entry.start :][:5] == b"12345"


@pytest.mark.parametrize("alignment", [1, 4, 8, 16, 128, 4096])
def test_entries_are_found_whatever_alignment_torch_was_told_to_use(tmp_path, alignment):
    with config.patch("save.storage_alignment", alignment):
        data = saved({str(n): torch.arange(n, dtype=torch.int16) for n in range(1, 60)})
    archive = archive_of(tmp_path, data)
    with zipfile.ZipFile(io.BytesIO(data)) as reference:
        for info in reference.infolist():
            entry = archive.entries[info.filename.partition("/")[2]]
            assert data[entry.start :][: entry.size_bytes] == reference.read(info), info.filename


def test_a_directory_of_many_entries_is_read_in_one_pass(tmp_path):
    data = zipped((f"a/data/{number}", b"") for number in range(60_000))
    started = time.process_time()
    assert len(archive_of(tmp_path, data).entries) == 60_000
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a/../../etc/passwd", b"x")], "points outside the archive"),
        ([("/etc/passwd", b"x")], "points outside the archive"),
        ([("a\\b", b"x")], "points outside the archive"),
        ([("a/data.pkl", b"x"), ("b/data/0", b"x")], "outside the archive's folder"),
        ([("data.pkl", b"x")], "outside the archive's folder"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path, entries, message):
    with pytest.raises(WeightsError, match=message):
        archive_of(tmp_path, zipped(entries))


def test_the_same_name_twice(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zipped([("a/data/0", b"x"), ("a/data/0", b"y")])
    with pytest.raises(WeightsError, match="appears twice"):
        archive_of(tmp_path, data)


def test_compressed_entries_and_bombs(tmp_path):
    bomb = zipped([("a/data.pkl", bytes(1 << 20))], zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="is compressed"):
        archive_of(tmp_path, bomb)


def patched_central(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """Change a field of the last record in the central directory."""
    place = data.rfind(b"PK\x01\x02")
    raw = bytearray(data)
    struct.pack_into(layout, raw, place + offset, value)
    return bytes(raw)


def test_an_entry_that_claims_more_than_there_is(tmp_path):
    data = zipped([("a/data.pkl", b"x" * 10), ("a/data/0", b"y" * 10)])
    grown = patched_central(patched_central(data, 20, "<L", 10**9), 24, "<L", 10**9)
    with pytest.raises(WeightsError, match="overlaps what follows"):
        archive_of(tmp_path, grown)


def test_an_entry_that_overlaps_another(tmp_path):
    data = zipped([("a/data.pkl", b"x" * 10), ("a/data/0", b"y" * 10)])
    with pytest.raises(WeightsError, match="damaged"):
        archive_of(tmp_path, patched_central(data, 42, "<L", 0))


def test_an_entry_without_a_header(tmp_path):
    data = zipped([("a/data.pkl", b"x" * 10), ("a/data/0", b"y" * 10)])
    with pytest.raises(WeightsError, match="no header where the directory says"):
        archive_of(tmp_path, patched_central(data, 42, "<L", 55))


def test_an_encrypted_entry(tmp_path):
    with pytest.raises(WeightsError, match="is encrypted"):
        archive_of(tmp_path, patched_central(zipped([("a/0", b"x")]), 8, "<H", 1))


def test_a_count_that_does_not_add_up(tmp_path):
    data = bytearray(zipped([("a/0", b"x")]))
    struct.pack_into("<H", data, data.rfind(b"PK\x05\x06") + 10, 9)
    with pytest.raises(WeightsError, match="lists 1 entries but promises 9"):
        archive_of(tmp_path, bytes(data))


def test_a_directory_outside_the_file(tmp_path):
    data = bytearray(zipped([("a/0", b"x")]))
    struct.pack_into("<L", data, data.rfind(b"PK\x05\x06") + 16, 10**9)
    with pytest.raises(WeightsError, match="lies outside the file"):
        archive_of(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04" + bytes(50), "the file is truncated"),
        (b"GGUF" + bytes(50), "a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "a web page"),
        (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
        (b"\x80\x02}.", "a bare pickle"),
        (b"garbage!", "starts with 67 61"),
    ],
)
def test_other_formats_are_named(tmp_path, head, message):
    with pytest.raises(WeightsError, match=message):
        archive_of(tmp_path, head)


def test_torchs_legacy_format_is_named_with_its_remedy(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(2)}, buffer, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"legacy format .* save it again: torch\.save"):
        archive_of(tmp_path, buffer.getvalue())


def test_a_truncated_download(tmp_path):
    data = saved({"a": torch.arange(100_000, dtype=torch.float32)})
    with pytest.raises(WeightsError, match="truncated"):
        archive_of(tmp_path, data[: len(data) // 2])
