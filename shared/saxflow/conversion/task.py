"""Run one Task: its share of the chunks, minus what exists already.

Any number of Tasks gives the same bytes: the plan depends on source and layout only, a Task merely
owns a run of its chunks. Objects are created whole, so a Task that is killed and repeated, late or
doubled redoes at most what was in flight and changes nothing that is finished.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from saxflow import layout
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import Directory, Entry, crc32c_text
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.matrices import Source
from saxflow.conversion.engine import Options, run_jobs, share_memory
from saxflow.conversion.journal import Journal, read_journals
from saxflow.conversion.report import Spec
from saxflow.conversion.work import Job, jobs
from saxflow.conversion.written import Written

DEFAULT_MAX_MEMORY = 1 << 30
JOURNALS = "tasks"


@dataclass(frozen=True)
class Share:
    """Which part of a conversion: Task `index` of `count`."""

    index: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """As in the names of a Task's objects, for example `0-of-4`."""
        return f"{self.index}-of-{self.count}"


@dataclass(frozen=True)
class Progress:
    """How far a Task is.

    Args:
        bytes_done: of its chunks, including what existed before.
        bytes_total: of its chunks.
        bytes_resumed: what existed before.
        seconds: since it started.
        variable: the one finished last.
    """

    bytes_done: int
    bytes_total: int
    bytes_resumed: int
    seconds: float
    variable: str = ""

    @property
    def bytes_per_second(self) -> float:
        """Rate of this run."""
        return (self.bytes_done - self.bytes_resumed) / self.seconds if self.seconds else 0.0

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to go at this rate, None while there is none."""
        rate = self.bytes_per_second
        return (self.bytes_total - self.bytes_done) / rate if rate else None


@dataclass(frozen=True)
class TaskResult:
    """What a Task did; `objects` covers everything it owns, resumed or new."""

    objects: tuple[Written, ...]
    bytes_read: int
    bytes_written: int
    bytes_resumed: int
    seconds: float
    clamped: Mapping[str, int] = field(default_factory=dict[str, int])

    def figures(self) -> dict[str, object]:
        """Return what it cost, as records and reports say it; memory is this process's peak."""
        return {
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "bytes_resumed": self.bytes_resumed,
            "clamped": dict(self.clamped),
            "seconds": round(self.seconds, 3),
            "peak_rss_bytes": peak_rss_bytes(),
        }


@dataclass(frozen=True)
class Ends:
    """Where a Task reads and writes."""

    source: Directory
    target: Directory

    @property
    def remote(self) -> bool:
        """Whether either end is Cloud Storage."""
        return not all(isinstance(end, LocalDirectory) for end in (self.source, self.target))


def owned_chunks(source: Source, spec: Spec, share: Share) -> list[layout.Chunk]:
    """Return the chunks of a Task."""
    chunks = list(layout.all_chunks(source.dimensions, spec.dtype, spec.mesh))
    itemsize = layout.itemsize_of(spec.dtype)
    owners = layout.task_of([chunk.size_bytes(itemsize) for chunk in chunks], share.count)
    return [chunk for chunk, owner in zip(chunks, owners, strict=True) if owner == share.index]


def owned_bytes(source: Source, spec: Spec, share: Share) -> int:
    """Return the bytes of a Task's chunks before compression."""
    itemsize = layout.itemsize_of(spec.dtype)
    return sum(chunk.size_bytes(itemsize) for chunk in owned_chunks(source, spec, share))


def plan_jobs(
    chunks: Sequence[layout.Chunk], source: Source, spec: Spec, job_bytes: int
) -> list[Job]:
    """Return the jobs that make chunks."""
    itemsize = layout.itemsize_of(spec.dtype)
    return list(jobs(chunks, source.matrices, itemsize=itemsize, max_bytes=job_bytes))


def largest_chunk(chunks: Iterable[layout.Chunk], spec: Spec) -> int:
    """Return the bytes of the largest chunk."""
    itemsize = layout.itemsize_of(spec.dtype)
    return max((chunk.size_bytes(itemsize) for chunk in chunks), default=0)


def run_task(
    ends: Ends,
    source: Source,
    spec: Spec,
    share: Share,
    *,
    max_memory: int = DEFAULT_MAX_MEMORY,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> TaskResult:
    """Convert what a Task owns and return the account of it.

    Raises:
        WeightsError: values that cannot be stored, repeated tensors that differ, or a source that
            changed meanwhile.
        SaxflowError: whatever reading and writing raise.
    """
    started = time.monotonic()
    chunks = owned_chunks(source, spec, share)
    fingerprint = spec.fingerprint(source)
    existing = existing_objects(ends.target, chunks, spec, fingerprint)
    pending = [chunk for chunk in chunks if chunk.name not in existing]
    memory = share_memory(max_memory, largest_chunk(chunks, spec), remote=ends.remote)
    itemsize = layout.itemsize_of(spec.dtype)
    total = sum(chunk.size_bytes(itemsize) for chunk in chunks)
    finished = list(existing.values())
    journal = _journal(ends.target, share)
    done_bytes = resumed = total - sum(chunk.size_bytes(itemsize) for chunk in pending)
    on_progress(Progress(done_bytes, total, resumed, 0.0))

    def done(job: Job, written: Sequence[Written]) -> None:
        nonlocal done_bytes
        if journal is not None:
            journal.append(written)
        finished.extend(written)
        done_bytes += job.size_bytes(itemsize)
        seconds = time.monotonic() - started
        on_progress(Progress(done_bytes, total, resumed, seconds, job.name))

    try:
        planned = plan_jobs(pending, source, spec, memory.job_bytes)
        options = Options(spec.dtype, spec.compressor, spec.clamp, fingerprint)
        tally = run_jobs(planned, ends.source, ends.target, options, memory.workers, done)
    finally:
        if journal is not None:
            journal.close()
    first = share.index == 0
    documents = _write_documents(ends.target, source, spec, fingerprint) if first else []
    return TaskResult(
        (*finished, *documents),
        tally.bytes_read,
        tally.bytes_written + sum(one.size_bytes for one in documents),
        sum(one.size_bytes for one in existing.values()),
        time.monotonic() - started,
        tally.clamped,
    )


def existing_objects(
    target: Directory, chunks: Sequence[layout.Chunk], spec: Spec, fingerprint: str
) -> dict[str, Written]:
    """Return those chunks that are finished, with size and crc32c.

    On gs:// both come from the listing, where objects of another origin than this conversion's are
    left out: an upload that was held up may arrive late; on a local disk from the journals, and the bytes are read
    again, because a crash of the machine may have lost what a crash of the process cannot.
    """
    prefix = f"{layout.STEP_DIRECTORY}/"
    listed = {name.removeprefix(prefix): entry for name, entry in target.entries(prefix).items()}
    itemsize = layout.itemsize_of(spec.dtype)
    fixed = spec.compressor == "none"
    candidates = {
        chunk.name: listed[chunk.name]
        for chunk in chunks
        if chunk.name in listed
        and (not fixed or listed[chunk.name].size_bytes == chunk.size_bytes(itemsize))
    }
    if isinstance(target, LocalDirectory):
        return _confirmed(target, candidates)
    return {
        name: Written(name, entry.size_bytes, entry.crc32c or "")
        for name, entry in candidates.items()
        if entry.origin == fingerprint
    }


def _confirmed(target: LocalDirectory, candidates: Mapping[str, Entry]) -> dict[str, Written]:
    journalled = read_journals(target.root / JOURNALS)
    promised = [
        journalled[name]
        for name, entry in candidates.items()
        if name in journalled and journalled[name].size_bytes == entry.size_bytes
    ]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        matches = list(pool.map(lambda one: _matches(target.root, one), promised))
    return {one.name: one for one, right in zip(promised, matches, strict=True) if right}


def _matches(root: Path, one: Written) -> bool:
    value = 0
    with (root / layout.STEP_DIRECTORY / one.name).open("rb") as file:
        while block := file.read(4 << 20):
            value = crc32c(block, value)
    return crc32c_text(value) == one.crc32c


def _journal(target: Directory, share: Share) -> Journal | None:
    if not isinstance(target, LocalDirectory):
        return None
    return Journal(target.root / JOURNALS, share.index, share.count)


def _write_documents(
    target: Directory, source: Source, spec: Spec, fingerprint: str
) -> list[Written]:
    """Write what needs no weights: every `.zarray`, the metadata, the step."""
    known = layout.documents(source.dimensions, spec.dtype, spec.mesh, spec.compressor)
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(
            pool.map(lambda name: write_document(target, name, known[name], fingerprint), known)
        )


def write_document(target: Directory, name: str, data: bytes, origin: str) -> Written:
    """Create one small object of the step directory."""
    value = crc32c(data)
    target.create(f"{layout.STEP_DIRECTORY}/{name}", [data], value, origin=origin)
    return Written(name, len(data), crc32c_text(value))


def peak_rss_bytes() -> int:
    """Return the greatest resident size this process has had.

    Linux hands `ru_maxrss` on from the process that started this one; `VmHWM` is this program's own.
    """
    with suppress(OSError), Path("/proc/self/status").open() as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
