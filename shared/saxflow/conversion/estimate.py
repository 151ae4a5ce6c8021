"""Say what a conversion will read, write, hold and take, without reading tensor data."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from rich.filesize import decimal

from saxflow import layout
from saxflow.conversion.convert import Conversion
from saxflow.conversion.engine import MAX_BLOCK_BYTES, share_memory
from saxflow.conversion.task import Ends, largest_chunk, plan_jobs
from saxflow.conversion.work import bytes_read

BASE_MEMORY_BYTES = 90 << 20
"""Interpreter and libraries, measured."""

BYTES_PER_SECOND = 0.8e9
REMOTE_BYTES_PER_SECOND = 0.25e9
"""Assumed rate of one machine; measured figures are in docs/benchmarks.md."""

TASK_BYTES = 16 << 30
MAX_TASKS = 8


@dataclass(frozen=True)
class Estimate:
    """The plan of a conversion in numbers.

    Args:
        format, shards: of the source.
        dimensions: of the model.
        fingerprint: of the result.
        variables, chunks, objects: of the result.
        bytes_read: of tensors, rows that are read again included.
        bytes_written: of chunks, before compression.
        largest_chunk_bytes: bounded by `layout.MAX_CHUNK_BYTES`.
        memory_bytes: peak resident size to expect.
        tasks: how many Tasks a deployment would use.
        seconds: with one Task, at an assumed rate.
    """

    source: str
    format: str
    shards: int
    dimensions: dict[str, Any]
    dtype: str
    mesh: int
    fingerprint: str
    variables: int
    chunks: int
    objects: int
    bytes_read: int
    bytes_written: int
    largest_chunk_bytes: int
    memory_bytes: int
    tasks: int
    seconds: float
    source_dtypes: dict[str, int]
    ignored: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the plan as text."""
        dims = self.dimensions
        dtypes = ", ".join(f"{count} {dtype}" for dtype, count in self.source_dtypes.items())
        return [
            f"source       {self.source}: {self.format}, {self.shards} shards, tensors {dtypes}",
            f"model        {dims['layers']} layers, D {dims['model_dim']}, {dims['heads']} heads"
            f" ({dims['kv_heads']} kv), F {dims['hidden_dim']}, V {dims['vocab']}",
            f"fingerprint  {self.fingerprint}",
            f"checkpoint   {self.variables} variables, {self.chunks} chunks of at most"
            f" {self.largest_chunk_bytes / 2**20:.3g} MiB for {self.mesh} chips, {self.dtype}",
            f"bytes        {decimal(self.bytes_read)} read, {decimal(self.bytes_written)} written",
            f"memory       about {self.memory_bytes / 2**20:.0f} MiB",
            f"Tasks        {self.tasks} in a deployment",
            f"time         about {self.seconds:.0f} s on this machine alone",
        ]


def estimate(work: Conversion) -> Estimate:
    """Plan a conversion.

    Raises:
        InputError: the memory allowed is too little for one chunk.
    """
    source, spec = work.source, work.spec
    chunks = list(layout.all_chunks(source.dimensions, spec.dtype, spec.mesh))
    ends = Ends(work.files, work.target)
    memory = share_memory(work.max_memory, largest_chunk(chunks, spec), remote=ends.remote)
    planned = plan_jobs(chunks, source, spec, memory.job_bytes)
    itemsize = layout.itemsize_of(spec.dtype)
    written = sum(chunk.size_bytes(itemsize) for chunk in chunks)
    sizes = sorted((job.size_bytes(itemsize) for job in planned), reverse=True)
    held = sizes[0] * min(memory.workers, len(sizes)) if sizes else 0
    rate = REMOTE_BYTES_PER_SECOND if ends.remote else BYTES_PER_SECOND
    parts = (part for matrix in source.matrices.values() for part in matrix.parts)
    return Estimate(
        source=work.files.uri,
        format=source.format,
        shards=source.shards,
        dimensions=source.dimensions.as_dict(),
        dtype=spec.dtype,
        mesh=spec.mesh,
        fingerprint=work.fingerprint,
        variables=len(layout.pax_variables(source.dimensions)),
        chunks=len(chunks),
        objects=sum(1 for _ in layout.objects(source.dimensions, spec.dtype, spec.mesh, "none")),
        bytes_read=sum(map(bytes_read, planned)),
        bytes_written=written,
        largest_chunk_bytes=largest_chunk(chunks, spec),
        memory_bytes=BASE_MEMORY_BYTES + held + memory.workers * MAX_BLOCK_BYTES,
        tasks=tasks_for(written),
        seconds=round(written / rate, 1),
        source_dtypes=dict(Counter(part.dtype for part in parts)),
        ignored=list(source.ignored),
    )


def tasks_for(size_bytes: int) -> int:
    """Return how many Tasks convert so many bytes: one per 16 GiB, at most eight."""
    return min(max(ceil(size_bytes / TASK_BYTES), 1), MAX_TASKS)
