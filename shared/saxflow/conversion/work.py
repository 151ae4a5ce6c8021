"""Cut a checkpoint's chunks into jobs: what is read once and written together.

A job is some chunks of one variable. Where the source's rows run across chunks (the mesh cuts `wo`
and `w2` by columns), the chunks that share rows form one job, so that nothing is read twice; where
memory does not allow that, the job is split and rows are read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from saxflow.checkpoint.mapping import recipe
from saxflow.checkpoint.matrices import ELEMENT_BYTES, Matrix, Part
from saxflow.layout import Chunk


@dataclass(frozen=True)
class Region:
    """A rectangle of a matrix: rows `[top, bottom)`, columns `[left, right)`."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, part: Part) -> Region | None:
        """Return the overlap with a part of the matrix, in the matrix's coordinates."""
        cut = Region(
            max(self.top, part.row),
            min(self.bottom, part.row + part.rows),
            max(self.left, part.col),
            min(self.right, part.col + part.cols),
        )
        return cut if cut.top < cut.bottom and cut.left < cut.right else None


@dataclass(frozen=True)
class Piece:
    """What one matrix gives to one chunk.

    Args:
        matrix: the tensor.
        region: of the matrix.
        slot: index on the stacked axis within the chunk.
        shape: `[rows, columns]` of the chunk's slot as it lies in memory, padding included.
        transposed: whether the region is turned on its way.
    """

    matrix: Matrix
    region: Region
    slot: int
    shape: tuple[int, int]
    transposed: bool


@dataclass(frozen=True)
class Job:
    """Chunks that are converted together."""

    chunks: tuple[Chunk, ...]
    pieces: tuple[tuple[Piece, ...], ...]

    @property
    def name(self) -> str:
        """The variable's name."""
        return self.chunks[0].variable.name

    def size_bytes(self, itemsize: int) -> int:
        """Bytes of all its chunks."""
        return sum(chunk.size_bytes(itemsize) for chunk in self.chunks)


Planned = tuple[Chunk, tuple[Piece, ...]]


def pieces_of(chunk: Chunk, matrices: Mapping[str, Matrix]) -> tuple[Piece, ...]:
    """Return what a chunk is made of.

    A variable is seen as a stack of matrices `[A, B]`: A its first axis after the stacked one, B
    all others together. Only axes whose inner axes are whole are ever cut, so B is one run.
    """
    made = recipe(chunk.variable.name)
    stacked = len(made.tensors) > 1
    start, stop, shape = (
        (values[1:] if stacked else values) for values in (chunk.start, chunk.stop, chunk.shape)
    )
    inner = prod(shape[2:])
    rows, columns = (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1] * inner)
    a0, a1 = (0, 1) if len(shape) == 1 else (start[0], stop[0])
    b0, b1 = (start[0], stop[0]) if len(shape) == 1 else (start[1] * inner, stop[1] * inner)
    region = Region(b0, b1, a0, a1) if made.transposed else Region(a0, a1, b0, b1)
    slots = range(chunk.start[0], chunk.stop[0]) if stacked else range(1)
    return tuple(
        Piece(matrices[made.tensors[i]], region, slot, (rows, columns), made.transposed)
        for slot, i in enumerate(slots)
    )


def jobs(
    chunks: Sequence[Chunk], matrices: Mapping[str, Matrix], *, itemsize: int, max_bytes: int
) -> Iterator[Job]:
    """Group chunks, in their order, into jobs of at most `max_bytes` of output.

    A chunk larger than that is a job of its own.
    """
    groups: dict[tuple[object, ...], list[Planned]] = {}
    for chunk in chunks:
        pieces = pieces_of(chunk, matrices)
        first = pieces[0]
        key = (chunk.variable.name, first.matrix.name, first.region.top, first.region.bottom)
        groups.setdefault(key, []).append((chunk, pieces))
    for group in groups.values():
        yield from _split(group, itemsize, max_bytes)


def _split(group: Sequence[Planned], itemsize: int, max_bytes: int) -> Iterator[Job]:
    batch: list[Planned] = []
    size = 0
    for chunk, pieces in group:
        grows = chunk.size_bytes(itemsize)
        if batch and (size + grows > max_bytes or not _share_rows(batch[-1][1], pieces)):
            yield _job(batch)
            batch, size = [], 0
        batch.append((chunk, pieces))
        size += grows
    if batch:
        yield _job(batch)


def _job(batch: Sequence[Planned]) -> Job:
    return Job(tuple(chunk for chunk, _ in batch), tuple(pieces for _, pieces in batch))


def _share_rows(before: tuple[Piece, ...], after: tuple[Piece, ...]) -> bool:
    """Return whether two chunks need columns of the same stored rows."""
    return any(
        one.matrix is other.matrix and one.region.of(part) and other.region.of(part)
        for one in before
        for other in after
        for part in one.matrix.parts
    )


def bytes_read(job: Job) -> int:
    """Return the bytes that a job reads: whole rows of every part it touches."""
    total = 0
    for matrix, pieces in by_matrix(job):
        for part in matrix.parts:
            cuts = [cut for piece in pieces if (cut := piece[1].region.of(part))]
            if cuts:
                rows = max(cut.bottom for cut in cuts) - min(cut.top for cut in cuts)
                total += rows * part.cols * ELEMENT_BYTES[part.dtype]
    return total


def by_matrix(job: Job) -> list[tuple[Matrix, list[tuple[int, Piece]]]]:
    """Return for each matrix of a job its pieces, with the position of their chunk in the job."""
    found: dict[str, tuple[Matrix, list[tuple[int, Piece]]]] = {}
    for position, pieces in enumerate(job.pieces):
        for piece in pieces:
            found.setdefault(piece.matrix.name, (piece.matrix, []))[1].append((position, piece))
    return list(found.values())
