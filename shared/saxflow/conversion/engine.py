"""Run jobs: read, cast and turn, check, digest, write; several at a time in bounded memory.

Each worker thread owns an arena for its job's chunks and a block for reading, both allocated once,
so memory is workers x (largest job + block) whatever the size of the model. While one worker
waits for a disk or the network, the others compute.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from saxflow.checkpoint.directory import Directory, crc32c_value
from saxflow.checkpoint.encode import encode
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.matrices import Matrix, Part
from saxflow.conversion import kernels
from saxflow.conversion.work import Job, Piece, Region, by_matrix
from saxflow.conversion.written import Written
from saxflow.errors import InputError, WeightsError
from saxflow.layout import STEP_DIRECTORY, Chunk

BLOCK_BYTES = 1 << 20
REMOTE_BLOCK_BYTES = 8 << 20
"""What is read at once: on a disk what the cache holds, from Cloud Storage what is worth a request."""

MAX_BLOCK_BYTES = 32 << 20
REMOTE_WORKERS = 8


@dataclass(frozen=True)
class Options:
    """How chunks are made.

    Args:
        dtype: of the checkpoint.
        compressor: of its chunks.
        clamp: whether values beyond the dtype's range become its largest value.
        origin: fingerprint of the conversion they belong to.
    """

    dtype: str
    compressor: str = "none"
    clamp: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Memory:
    """How `--max-memory` is spent: so many workers, each with jobs of at most so many bytes."""

    workers: int
    job_bytes: int


@dataclass
class Tally:
    """What workers have done so far; changed under `lock` only."""

    bytes_read: int = 0
    bytes_written: int = 0
    clamped: dict[str, int] = field(default_factory=dict[str, int])
    lock: threading.Lock = field(default_factory=threading.Lock)


def share_memory(max_memory: int, largest_chunk: int, *, remote: bool) -> Memory:
    """Divide the memory among workers.

    Args:
        largest_chunk: bytes of the largest chunk, the least a job can need.
        remote: whether either end is Cloud Storage, where more workers hide latency.

    Raises:
        InputError: not even one worker fits.
    """
    least = largest_chunk + MAX_BLOCK_BYTES
    wanted = REMOTE_WORKERS if remote else (os.cpu_count() or 1) + 1  # one waits for the disk
    workers = min(wanted, max_memory // least)
    if workers < 1:
        raise InputError(
            f"--max-memory {max_memory >> 20}MiB is too little for one chunk;"
            f" give at least {-(-least >> 20)}MiB"
        )
    return Memory(workers, max_memory // workers - MAX_BLOCK_BYTES)


def run_jobs(
    planned: Sequence[Job],
    source: Directory,
    target: Directory,
    options: Options,
    workers: int,
    done: Callable[[Job, Sequence[Written]], None],
) -> Tally:
    """Convert every job.

    Args:
        done: called with each finished job and its objects, by one thread at a time.

    Raises:
        WeightsError: values that cannot be stored, or repeated tensors that differ.
        SaxflowError: whatever reading and writing raise.
    """
    tally = Tally()
    queue = iter(planned)
    stop = threading.Event()
    arena_bytes = max(
        (sum(_whole_pages(chunk.size_bytes(2)) for chunk in job.chunks) for job in planned),
        default=0,
    )

    def work() -> None:
        worker = _Worker(source, target, options, tally, arena_bytes)
        while not stop.is_set() and (job := _next(queue, tally.lock)) is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # looked for afterwards, at once
                written = worker.convert(job)
            with tally.lock:
                tally.bytes_written += sum(one.size_bytes for one in written)
                done(job, written)

    with ThreadPoolExecutor(max_workers=max(1, min(workers, len(planned)))) as pool:
        futures = [pool.submit(work) for _ in range(max(1, min(workers, len(planned))))]
        try:
            for future in futures:
                future.add_done_callback(lambda f: f.exception() and stop.set())
            for future in futures:
                future.result()
        finally:
            stop.set()
    return tally


def _next(queue: Iterator[Job], lock: threading.Lock) -> Job | None:
    with lock:
        return next(queue, None)


class _Worker:
    """One thread's buffers and what it does with them."""

    def __init__(
        self,
        source: Directory,
        target: Directory,
        options: Options,
        tally: Tally,
        arena_bytes: int,
    ) -> None:
        self._source = source
        self._target = target
        self._options = options
        self._tally = tally
        self._dtype = kernels.DTYPES[options.dtype]
        self._arena = allocate(max(arena_bytes, mmap.PAGESIZE))
        self._tile = kernels.Tile(options.dtype)
        self._reader = BlockReader(source, tally)

    def convert(self, job: Job) -> list[Written]:
        """Convert one job and write its chunks."""
        for matrix, _ in by_matrix(job):
            if matrix.replicas and _is_first(job):
                self._reader.compare(matrix)
        arrays = self._carve(job)
        self._tile.finite = True
        self._fill(job, arrays, careful=False)
        if not self._tile.finite:
            self._fill_carefully(job, arrays)
        return [self._write(*pair) for pair in zip(job.chunks, arrays, strict=True)]

    def _carve(self, job: Job) -> list[kernels.Array]:
        """Return an array for each chunk, at the start of a page each: disks take such unbuffered."""
        arrays: list[kernels.Array] = []
        place = 0
        for chunk in job.chunks:
            array = np.ndarray(chunk.shape, self._dtype, self._arena, place)
            if any(
                s + n != e for s, n, e in zip(chunk.start, chunk.shape, chunk.stop, strict=True)
            ):
                array.view(np.uint16).fill(0)
            arrays.append(array)
            place += _whole_pages(chunk.size_bytes(self._dtype.itemsize))
        return arrays

    def _fill(self, job: Job, arrays: Sequence[kernels.Array], *, careful: bool) -> None:
        for matrix, pieces in by_matrix(job):
            found = kernels.NotFinite()
            targets = [(piece, _slot(arrays[at], piece)) for at, piece in pieces]
            for part in matrix.parts:
                self._fill_from(part, targets, matrix, found if careful else None)
            if found.overflow:
                self._count_clamped(matrix.name, found.overflow)

    def _fill_from(
        self,
        part: Part,
        targets: Sequence[tuple[Piece, kernels.Array]],
        matrix: Matrix,
        careful: kernels.NotFinite | None,
    ) -> None:
        cuts = [(p, cut, a) for p, a in targets if (cut := p.region.of(part)) is not None]
        if not cuts:
            return
        top = min(cut.top for _, cut, _ in cuts)
        bottom = max(cut.bottom for _, cut, _ in cuts)
        for row, values in self._reader.blocks(part, top, bottom, matrix.rotary_head):
            if careful is not None:
                values = kernels.examine(values, self._options.dtype, careful)
            for piece, cut, array in cuts:
                self._place(piece, cut, array, row, part.col, values)

    def _place(
        self,
        piece: Piece,
        cut: Region,
        array: kernels.Array,
        row: int,
        col: int,
        values: kernels.Array,
    ) -> None:
        """Put the rows `row...` of a part that starts at column `col` where they belong."""
        top, bottom = max(cut.top, row), min(cut.bottom, row + len(values))
        if top >= bottom:
            return
        chosen = values[top - row : bottom - row, cut.left - col : cut.right - col]
        rows = slice(top - piece.region.top, bottom - piece.region.top)
        cols = slice(cut.left - piece.region.left, cut.right - piece.region.left)
        if piece.transposed:
            kernels.transpose_into(array[cols, rows], chosen, self._tile)
        else:
            kernels.copy_into(array[rows, cols], chosen, self._tile)

    def _fill_carefully(self, job: Job, arrays: Sequence[kernels.Array]) -> None:
        """Explain what is not finite, or clamp it when that was asked for."""
        for matrix, _ in by_matrix(job):
            self._refuse(matrix)
        self._fill(job, arrays, careful=True)

    def _refuse(self, matrix: Matrix) -> None:
        found = kernels.NotFinite()
        for part in matrix.parts:
            rows = (part.row, part.row + part.rows)
            for _, values in self._reader.blocks(part, *rows, 0):
                kernels.examine(values, self._options.dtype, found)
        if found.nan or found.infinite:
            raise WeightsError(
                f"tensor {matrix.name} holds {found.nan} NaN and {found.infinite} infinite values;"
                " the source is damaged"
            )
        if found.overflow and not self._options.clamp:
            wider = "--dtype bfloat16, or " if self._options.dtype == "float16" else ""
            raise WeightsError(
                f"tensor {matrix.name}: {found.overflow} values do not fit {self._options.dtype}"
                f" (the largest is {found.largest:g}); use {wider}--clamp to cut them"
            )

    def _count_clamped(self, tensor: str, count: int) -> None:
        with self._tally.lock:
            self._tally.clamped[tensor] = self._tally.clamped.get(tensor, 0) + count

    def _write(self, chunk: Chunk, array: kernels.Array) -> Written:
        data = encode(array, self._options.dtype, self._options.compressor)
        written = Written.of(chunk.name, data)
        name, crc32c = f"{STEP_DIRECTORY}/{chunk.name}", crc32c_value(written.crc32c)
        self._target.create(name, [data], crc32c, origin=self._options.origin)
        return written


class BlockReader:
    """Reads parts of a source row block by row block into one buffer."""

    def __init__(self, source: Directory, tally: Tally) -> None:
        self._source = source
        self._tally = tally
        local = isinstance(source, LocalDirectory)
        self._block_bytes = BLOCK_BYTES if local else REMOTE_BLOCK_BYTES
        self._block = np.empty(0, np.uint8)
        self._turned = np.empty(0, np.uint8)

    def blocks(
        self, part: Part, top: int, bottom: int, rotary_head: int
    ) -> Iterator[tuple[int, kernels.Array]]:
        """Yield (matrix row, values `[n, part.cols]`) for rows `[top, bottom)` of the matrix.

        The values are a view that the next block overwrites.
        """
        step = block_rows(part, rotary_head, self._block_bytes)
        for row in range(top, bottom, step):
            values = self._rows(part, row - part.row, min(step, bottom - row))
            if rotary_head:
                values = self._interleaved(values, rotary_head)
            yield row, values

    def compare(self, matrix: Matrix) -> None:
        """Require the shards that repeat a tensor to repeat it exactly.

        Raises:
            WeightsError: two differ; the message names the files.
        """
        for group in matrix.replicas:
            first, *others = group
            for other in others:
                if not self._equal(first, other):
                    raise WeightsError(
                        f"tensor {matrix.name} differs between {first.file} and {other.file},"
                        " which must repeat it; the shards belong to different models"
                    )

    def _equal(self, one: Part, other: Part) -> bool:
        step = block_rows(one, 0, self._block_bytes)
        for row in range(0, one.rows, step):
            count = min(step, one.rows - row)
            kept = self._rows(one, row, count).copy()
            if not np.array_equal(
                kept.view(np.uint8), self._rows(other, row, count).view(np.uint8)
            ):
                return False
        return True

    def _rows(self, part: Part, first: int, count: int) -> kernels.Array:
        dtype = kernels.DTYPES[part.dtype]
        size = (count - 1) * part.row_bytes + part.cols * dtype.itemsize
        if self._block.size < size:
            self._block = np.empty(size, np.uint8)
        view = self._block.data[:size]
        self._source.read_into(part.file, part.start + first * part.row_bytes, view)
        with self._tally.lock:
            self._tally.bytes_read += size
        strides = (part.row_bytes, dtype.itemsize)
        return np.ndarray((count, part.cols), dtype, self._block.data, 0, strides)

    def _interleaved(self, values: kernels.Array, head_dim: int) -> kernels.Array:
        if self._turned.size < values.nbytes:
            self._turned = np.empty(values.nbytes, np.uint8)
        turned = self._turned[: values.nbytes].view(values.dtype).reshape(values.shape)
        kernels.interleave_heads(turned, values, head_dim)
        return turned


def block_rows(part: Part, rotary_head: int, block_bytes: int) -> int:
    """Return how many rows are read at once: about `block_bytes`, whole tiles and whole heads."""
    rows = max(block_bytes // part.row_bytes, kernels.TILE_ROWS)
    rows = max(1, min(rows, MAX_BLOCK_BYTES // part.row_bytes))
    unit = rotary_head or (kernels.TILE_ROWS if rows > kernels.TILE_ROWS else 1)
    return max(unit, rows - rows % unit)


def allocate(size: int) -> mmap.mmap:
    """Return zeroed memory at the start of a page, in huge pages where the system has them.

    A disk takes a long run of memory in few requests, scattered pages in hundreds.
    """
    arena = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if advice := getattr(mmap, "MADV_HUGEPAGE", None):  # Linux alone has it
        with suppress(OSError):  # a kernel that was built without them
            arena.madvise(advice)
    return arena


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _slot(array: kernels.Array, piece: Piece) -> Any:
    """Return the `[rows, columns]` view of a chunk that a piece fills."""
    return array.reshape(-1, *piece.shape)[piece.slot]


def _is_first(job: Job) -> bool:
    return any(not any(chunk.index) for chunk in job.chunks)
