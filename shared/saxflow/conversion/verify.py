"""Read a checkpoint back, every byte, and tell whatever is not as it was written.

SAX reads a missing chunk as zeros and pads a wrong shape without a word, so this is the only place
where such damage shows. Expected names, shapes and sizes are derived from the dimensions, expected
digests come from `report.json` or, in a deployment, from the Tasks' records.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from saxflow import layout
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import Directory, Entry, crc32c_text
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.opening import open_directory
from saxflow.conversion.report import REPORT, Report, read_report
from saxflow.conversion.written import Written
from saxflow.errors import IntegrityError, NotFoundError

BLOCK_BYTES = 1 << 20
REMOTE_BLOCK_BYTES = 16 << 20
REMOTE_WORKERS = 8
PREFIX = f"{layout.STEP_DIRECTORY}/"
_MISSING = "is missing; SAX would read zeros"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        variable: its name, or that of an object that belongs to none.
        chunk: the object within the variable, for example `0.0` or `.zarray`.
        reason: what is wrong with it.
    """

    variable: str
    chunk: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What verification found."""

    checkpoint: str
    variables: int
    chunks: int
    bytes: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(frozen=True)
class _Item:
    """One object to read: what it must be."""

    name: str
    written: Written
    content: bytes | None = None


def parent_of_step(uri: str) -> str:
    """Return the directory that holds the report, given it or the step directory."""
    if uri and "://" not in uri and Path(uri).name in ("", ".."):
        uri = str(Path(uri).resolve())  # `.` may stand for the step directory
    trimmed = uri.rstrip("/")
    head, _, last = trimmed.rpartition("/")
    if last != layout.STEP_DIRECTORY:
        return trimmed or uri
    return head or ("/" if trimmed.startswith("/") else ".")


def verify(uri: str, on_progress: Callable[[int, str], None] = lambda *_: None) -> Verdict:
    """Verify the checkpoint at a directory or its step directory, local or gs://.

    Args:
        on_progress: called with (bytes read, name).

    Raises:
        NotFoundError: there is no checkpoint or nothing to compare it with.
        IntegrityError: the report or a Task's record is damaged.
    """
    with open_directory(parent_of_step(uri)) as directory:
        report = read_report(directory)
        listed = {n.removeprefix(PREFIX): e for n, e in directory.entries(PREFIX).items()}
        if report is None:
            raise NotFoundError(_nothing_to_compare(directory, listed))
        expected = _expected_digests(directory, report)
        problems = list(_structure(report, listed, expected))
        present = list(_items(report, listed, expected))
        problems += _read_all(directory, present, on_progress)
        problems += _markers(directory, report, listed)
    return Verdict(
        f"{directory.uri}/{layout.STEP_DIRECTORY}",
        len(layout.pax_variables(report.dimensions)),
        sum(1 for item in present if item.content is None),
        sum(item.written.size_bytes for item in present),
        tuple(sorted(problems, key=lambda problem: (problem.variable, problem.chunk))),
    )


def bytes_to_read(uri: str) -> int:
    """Return the bytes that `verify` would read at most."""
    with open_directory(parent_of_step(uri)) as directory:
        return sum(entry.size_bytes for entry in directory.entries(PREFIX).values())


def _nothing_to_compare(directory: Directory, listed: Mapping[str, Entry]) -> str:
    if not listed:
        return (
            f"{directory.uri} holds no {layout.STEP_DIRECTORY}; give the DST of `saxflow convert`,"
            " or the step directory in it"
        )
    return (
        f"{directory.uri} has no {REPORT}, so there are no digests to compare with;"
        " convert again with saxflow, or verify where it was written"
    )


def _expected_digests(directory: Directory, report: Report) -> Mapping[str, Written]:
    """Return what was written, from the report or from every Task's record."""
    if report.objects:
        return report.objects
    found: dict[str, Written] = {}
    for index in range(report.tasks):
        name = f"tasks/{index}-of-{report.tasks}.json"
        try:
            record = json.loads(directory.read(name))
            for one in record["objects"]:
                found[one["name"]] = Written(one["name"], int(one["size"]), one["crc32c"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(
                f"{directory.uri}/{name} is damaged ({error!r}); convert again"
            ) from error
    return found


def _planned(report: Report) -> dict[str, layout.ObjectPlan]:
    spec = report.spec
    plan = layout.objects(report.dimensions, spec.dtype, spec.mesh, spec.compressor)
    return {item.name: item for item in plan}


def _structure(
    report: Report, listed: Mapping[str, Entry], expected: Mapping[str, Written]
) -> Iterator[Problem]:
    """Yield what is missing, foreign or of the wrong size, from the listing alone."""
    planned = _planned(report)
    for name, plan in planned.items():
        one = expected.get(name)
        if name not in listed:
            yield problem(name, "is missing" if name.endswith(".zarray") else _MISSING)
        elif one is None:
            yield problem(name, "has no digest in the report")
        elif plan.size_bytes not in (None, one.size_bytes):
            yield problem(name, f"was written with {one.size_bytes} bytes, not {plan.size_bytes}")
        elif listed[name].size_bytes != one.size_bytes:
            yield problem(name, f"has {listed[name].size_bytes} bytes, not {one.size_bytes}")
    for name in listed:
        if name not in planned and name not in layout.MARKERS:
            yield problem(name, "does not belong to this checkpoint")


def _items(
    report: Report, listed: Mapping[str, Entry], expected: Mapping[str, Written]
) -> Iterator[_Item]:
    """Yield what to read and compare: all but what the listing has told already."""
    spec = report.spec
    documents = layout.documents(report.dimensions, spec.dtype, spec.mesh, spec.compressor)
    for name in _planned(report):
        one = expected.get(name)
        if one and name in listed and listed[name].size_bytes == one.size_bytes:
            yield _Item(name, one, documents.get(name))


def _markers(
    directory: Directory, report: Report, listed: Mapping[str, Entry]
) -> Iterator[Problem]:
    for marker, text in layout.marker_texts(report.directory).items():
        if marker not in listed:
            yield problem(marker, "is missing; readers of gs:// need this commit marker")
        elif directory.read(PREFIX + marker) != text:
            yield problem(marker, "is not the commit marker that was written")


def _read_all(
    directory: Directory, items: Sequence[_Item], on_progress: Callable[[int, str], None]
) -> list[Problem]:
    done = 0
    lock = threading.Lock()
    local = threading.local()
    on_disk = isinstance(directory, LocalDirectory)
    block_bytes = BLOCK_BYTES if on_disk else REMOTE_BLOCK_BYTES

    def read(item: _Item) -> Problem | None:
        nonlocal done
        if not hasattr(local, "buffer"):
            local.buffer = bytearray(block_bytes)
        found = _compare(directory, item, memoryview(local.buffer))
        with lock:
            done += item.written.size_bytes
            on_progress(done, item.name)
        return found

    workers = os.cpu_count() if on_disk else REMOTE_WORKERS
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return [found for found in pool.map(read, items) if found is not None]


def _compare(directory: Directory, item: _Item, buffer: memoryview) -> Problem | None:
    """Read one object in blocks and compare it with its digest and, if known, its content."""
    value, size = 0, item.written.size_bytes
    for start in range(0, size, len(buffer)):
        block = buffer[: min(len(buffer), size - start)]
        try:
            directory.read_into(PREFIX + item.name, start, block)
        except (NotFoundError, IntegrityError) as error:
            return problem(item.name, f"cannot be read whole: {error}")
        value = crc32c(block, value)
    if item.content is not None and (crc32c(item.content) != value or len(item.content) != size):
        return problem(item.name, "differs from what these dimensions and layout require")
    if crc32c_text(value) != item.written.crc32c:
        return problem(
            item.name, f"has crc32c {crc32c_text(value)}, {item.written.crc32c} was written"
        )
    return None


def problem(name: str, reason: str) -> Problem:
    """Return a problem with an object of the step directory."""
    parts = name.split("/")
    if parts[0] == "state" and len(parts) == 3:
        return Problem(parts[1], parts[2], reason)
    return Problem(name, "", reason)
