"""The directory of a torch zip archive, read by ranges and trusted in nothing.

Only what torch writes is accepted: stored (never compressed) entries in one folder, none
overlapping another, none reaching outside the file. Sizes therefore add up to at most the file's
own size, which rules out bombs.

Source: PKWARE APPNOTE.TXT 6.3.9 (sections 4.3.7-4.3.16), pytorch caffe2/serialize/inline_container.cc
(64-byte alignment by an extra field).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from saxflow.checkpoint.directory import Directory
from saxflow.errors import WeightsError

TAIL_BYTES = 256 << 10
MAX_DIRECTORY_BYTES = 8 << 20
MAX_PICKLE_BYTES = 8 << 20
"""Fifty times what a 405B needs; more would only serve to fill memory."""

ALIGNMENT = 64
_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_DESCRIBED = 0x0008
"""Flag of an entry whose sizes and crc are repeated behind its bytes."""

_LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_OTHER_FORMATS = {
    b"GGUF": "a GGUF file; convert it from the original weights",
    b"\x89HDF": "an HDF5 file; save the weights with torch.save or safetensors",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run `git lfs pull`",
    b"<!DOCTYPE": "a web page, not weights; download the file again",
    b"<html": "a web page, not weights; download the file again",
    b"\x80": (
        "a bare pickle, not a torch archive; save it again with a current torch:"
        " torch.save(torch.load(name, weights_only=True), name)"
    ),
}


@dataclass(frozen=True)
class ArchiveEntry:
    """One stored file of an archive; `start` is where its bytes begin."""

    name: str
    start: int
    size_bytes: int


@dataclass(frozen=True)
class Archive:
    """A torch archive's directory.

    Args:
        entries: by name below the archive's single folder, for example `data/0`.
        directory: the raw central directory, what a local fingerprint digests.
    """

    entries: Mapping[str, ArchiveEntry]
    directory: bytes


@dataclass(frozen=True)
class _Central:
    """One record of the central directory."""

    name: str
    header: int
    size_bytes: int
    described: bool

    @property
    def wide(self) -> bool:
        """Whether torch writes 64-bit sizes for it."""
        return self.size_bytes >= 0xFFFFFFFF or self.header >= 0xFFFFFFFF

    @property
    def descriptor_bytes(self) -> int:
        """What torch writes between an entry's bytes and the next header."""
        if not self.described or not self.size_bytes:
            return 0
        return 24 if self.wide else 16


def read_archive(files: Directory, name: str, size_bytes: int) -> Archive:
    """Read and check the directory of `name`.

    Raises:
        WeightsError: it is no torch archive, damaged, truncated or made to deceive; the message
            names the format where it is a known one.
    """
    tail_start = max(size_bytes - TAIL_BYTES, 0)
    tail = files.read(name, tail_start, size_bytes - tail_start)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + _END.size > len(tail):
        raise _unrecognised(files, name, size_bytes)
    start, length, count = _directory_place(name, tail, place, tail_start)
    if start + length > tail_start + place or length > MAX_DIRECTORY_BYTES:
        raise _damaged(name, "its directory lies outside the file")
    raw = (
        tail[start - tail_start :][:length]
        if start >= tail_start
        else files.read(name, start, length)
    )
    records = _central_records(name, raw, count)
    return Archive(_located(files, name, records, start), raw)


def _directory_place(name: str, tail: bytes, place: int, tail_start: int) -> tuple[int, int, int]:
    """Return (offset, length, number of entries) of the central directory."""
    _, _, _, _, count, length, start, _ = _END.unpack_from(tail, place)
    locator = place - _END64_LOCATOR.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\x06\x07":
        end64 = _END64_LOCATOR.unpack_from(tail, locator)[2] - tail_start
        if not 0 <= end64 <= locator - _END64.size or tail[end64 : end64 + 4] != b"PK\x06\x06":
            raise _damaged(name, "its zip64 end record is missing")
        count, length, start = _END64.unpack_from(tail, end64)[7:10]
    return start, length, count


def _central_records(name: str, raw: bytes, count: int) -> list[_Central]:
    records: list[_Central] = []
    place = 0
    while place < len(raw):
        if place + _CENTRAL.size > len(raw) or raw[place : place + 4] != b"PK\x01\x02":
            raise _damaged(name, "its directory is cut or overwritten")
        fields = _CENTRAL.unpack_from(raw, place)
        name_size, extra_size, comment_size = fields[12:15]
        end = place + _CENTRAL.size + name_size + extra_size + comment_size
        if end > len(raw):
            raise _damaged(name, "its directory is cut or overwritten")
        records.append(_central_record(name, raw, place, fields))
        place = end
    if len(records) != count:
        raise _damaged(name, f"its directory lists {len(records)} entries but promises {count}")
    return records


def _central_record(name: str, raw: bytes, place: int, fields: tuple[int, ...]) -> _Central:
    flags, method = fields[5], fields[6]
    compressed, size, name_size, extra_size, header = *fields[10:14], fields[18]
    text_end = place + _CENTRAL.size + name_size
    text = raw[place + _CENTRAL.size : text_end]
    extra = raw[text_end : text_end + extra_size]
    size, compressed, header = _wide(extra, size, compressed, header)
    entry = text.decode("utf-8", "replace")
    if "\0" in entry or "\\" in entry or entry.startswith("/") or ".." in entry.split("/"):
        raise _damaged(name, f"entry {entry!r} points outside the archive")
    if flags & 0x0001:
        raise _damaged(name, f"entry {entry!r} is encrypted")
    if method != 0 or compressed != size:
        raise WeightsError(
            f"{name}: entry {entry!r} is compressed; torch stores tensors uncompressed."
            " Save the file again with torch.save"
        )
    return _Central(entry, header, size, bool(flags & _DESCRIBED))


def _wide(extra: bytes, size: int, compressed: int, header: int) -> tuple[int, int, int]:
    """Replace 32-bit fields that overflowed by their zip64 values."""
    values = [size, compressed, header]
    place = 0
    while place + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, place)
        if tag == 1:
            wide = extra[place + 4 : place + 4 + length]
            for i, value in enumerate(values):
                if value == 0xFFFFFFFF and len(wide) >= 8:
                    values[i] = struct.unpack_from("<Q", wide)[0]
                    wide = wide[8:]
        place += 4 + length
    return values[0], values[1], values[2]


def _located(
    files: Directory, name: str, records: list[_Central], directory_start: int
) -> dict[str, ArchiveEntry]:
    """Find where each entry's bytes begin and check that none overlaps the next."""
    ordered = sorted(records, key=lambda record: record.header)
    limits = [record.header for record in ordered[1:]] + [directory_start]
    found: dict[str, ArchiveEntry] = {}
    for record, limit in zip(ordered, limits, strict=True):
        start = _data_start(files, name, record, limit)
        if start + record.size_bytes > limit:
            raise _damaged(name, f"entry {record.name!r} overlaps what follows it")
        folder, _, relative = record.name.partition("/")
        if not relative or folder != ordered[0].name.partition("/")[0]:
            raise _damaged(name, f"entry {record.name!r} is outside the archive's folder")
        if relative in found:
            raise _damaged(name, f"entry {record.name!r} appears twice")
        found[relative] = ArchiveEntry(relative, start, record.size_bytes)
    return found


def _data_start(files: Directory, name: str, record: _Central, limit: int) -> int:
    """Return where the bytes begin: by torch's alignment where that fills the gap, else by looking.

    The gap between two headers must be exactly padding, data and descriptor; then no read is
    needed, which matters for thousands of entries in Cloud Storage. Since data and descriptor end
    where the next header begins, no other alignment can fill the gap too.
    """
    padded = record.header + _LOCAL.size + len(record.name.encode()) + 4 + (4 if record.wide else 0)
    predicted = -(-padded // ALIGNMENT) * ALIGNMENT
    if predicted + record.size_bytes + record.descriptor_bytes == limit:
        return predicted
    header = files.read(name, record.header, _LOCAL.size)
    if len(header) < _LOCAL.size or header[:4] != b"PK\x03\x04":
        raise _damaged(name, f"entry {record.name!r} has no header where the directory says")
    name_size, extra_size = _LOCAL.unpack(header)[10:12]
    return record.header + _LOCAL.size + name_size + extra_size


def _unrecognised(files: Directory, name: str, size_bytes: int) -> WeightsError:
    head = files.read(name, 0, min(size_bytes, 512))
    if not head:
        return WeightsError(f"{name} is empty; download it again")
    if head.startswith(_LEGACY_MAGIC):
        return WeightsError(
            f"{name} is in torch's legacy format (before 1.6), which cannot be read by ranges;"
            " save it again: torch.save(torch.load(name, weights_only=True), name)"
        )
    if head.startswith(b"PK\x03\x04"):
        return _damaged(name, "the end of the zip archive is missing, so the file is truncated")
    if head[257:262] == b"ustar":
        return WeightsError(f"{name} is a tar archive; unpack it first")
    for magic, remedy in _OTHER_FORMATS.items():
        if head.startswith(magic):
            return WeightsError(f"{name} is {remedy}")
    return WeightsError(
        f"{name} is no torch archive: it starts with {head[:8].hex(' ')};"
        " Meta's consolidated.NN.pth or Hugging Face safetensors are needed"
    )


def _damaged(name: str, reason: str) -> WeightsError:
    return WeightsError(f"{name} is damaged: {reason}; download it again")
