"""Compare a source with digests that came with it.

`checklist.chk` is what Meta ships beside the weights: md5sum's format. On gs:// its md5 is compared
with the object's own, which costs nothing; reading is only needed for sha256 and on a local disk.

Source: meta-llama/llama download.sh (`md5sum -c checklist.chk`).
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from saxflow.checkpoint.directory import Directory, Entry
from saxflow.checkpoint.matrices import Source
from saxflow.conversion.task import Share
from saxflow.errors import WeightsError
from saxflow.layout import is_source_file

CHECKLIST = "checklist.chk"
BLOCK_BYTES = 8 << 20
_LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")


def read_checklist(files: Directory, entries: Mapping[str, Entry]) -> dict[str, str]:
    """Return the md5 of each weights file that `checklist.chk` lists; empty without one.

    Raises:
        WeightsError: a line is not md5sum's.
    """
    if CHECKLIST not in entries:
        return {}
    found: dict[str, str] = {}
    for line in files.read(CHECKLIST).decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None and line.strip():
            raise WeightsError(f"{CHECKLIST}: {line[:80]!r} is no line of md5sum")
        name = match[2].removeprefix("./") if match else ""
        if match and is_source_file(name):
            found[name] = match[1].lower()
    return found


def check_stored_md5(files: Directory) -> None:
    """Compare `checklist.chk` with the md5 that Cloud Storage keeps; on a disk do nothing.

    Raises:
        WeightsError: one differs, or a listed file is missing.
    """
    entries = files.entries(recursive=False)
    if not any(entry.md5 for entry in entries.values()):
        return
    for name, promised in read_checklist(files, entries).items():
        _require_present(name, entries)
        stored = entries[name].md5
        if stored is not None:
            _require_equal(name, "md5", b64decode(stored).hex(), promised)


def check_digests(files: Directory) -> int:
    """Read every file that `checklist.chk` lists and compare; return the bytes read.

    Raises:
        WeightsError: there is no checklist, a listed file is missing, or one differs.
    """
    entries = files.entries(recursive=False)
    promised = read_checklist(files, entries)
    if not promised:
        raise WeightsError(f"{files.uri} has no {CHECKLIST} with digests to check")
    for name in promised:
        _require_present(name, entries)
    _compare_all(files, entries, promised, "md5")
    return sum(entries[name].size_bytes for name in promised)


def check_sha256(files: Directory, promised: Mapping[str, str], share: Share) -> None:
    """Read a Task's share of the files that have a given sha256 and compare.

    Raises:
        WeightsError: a file is missing or differs.
    """
    entries = files.entries(recursive=False)
    for name in promised:
        _require_present(name, entries)
    mine = sorted(promised)[share.index :: share.count]
    _compare_all(files, entries, {name: promised[name].lower() for name in mine}, "sha256")


def check_unchanged(files: Directory, source: Source) -> None:
    """Require that no file of a source changed while it was being read.

    Raises:
        WeightsError: one did.
    """
    from saxflow.checkpoint.source import read_source

    now = {file.name: file for file in read_source(files).files}
    for file in source.files:
        if now.get(file.name) != file:
            raise WeightsError(
                f"{file.name} changed while it was being converted; repeat once it is complete"
            )


def _compare_all(
    files: Directory, entries: Mapping[str, Entry], promised: Mapping[str, str], kind: str
) -> None:
    def compare(name: str) -> None:
        found = _digest(files, name, entries[name].size_bytes, kind)
        _require_equal(name, kind, found, promised[name])

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        _exhaust(pool.map(compare, promised))


def _exhaust(results: Iterable[None]) -> None:
    for _ in results:
        pass


def _digest(files: Directory, name: str, size_bytes: int, kind: str) -> str:
    algorithm = hashlib.new(kind, usedforsecurity=False)
    buffer = bytearray(min(BLOCK_BYTES, max(size_bytes, 1)))
    with memoryview(buffer) as view:
        for start in range(0, size_bytes, len(view)):
            block = view[: min(len(view), size_bytes - start)]
            files.read_into(name, start, block)
            algorithm.update(block)
    return algorithm.hexdigest()


def _require_present(name: str, entries: Mapping[str, Entry]) -> None:
    if name not in entries:
        raise WeightsError(f"{name} is missing, though a digest is given for it")


def _require_equal(name: str, kind: str, found: str, promised: str) -> None:
    if found != promised:
        raise WeightsError(
            f"{name} has {kind} {found}, but {promised} was promised; download it again"
        )
