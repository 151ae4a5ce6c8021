import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow import layout
from saxflow.checkpoint.matrices import Part
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.work import Region, by_matrix, bytes_read, jobs, pieces_of


@pytest.fixture(scope="module")
def matrices(tiny):
    with open_directory(str(tiny)) as files:
        return read_source(files).matrices


@pytest.mark.parametrize("mesh", [1, 2, 3, 8])
def test_pieces_cover_every_matrix_once(kit, matrices, mesh):
    seen = {name: np.zeros((m.rows, m.cols), np.uint8) for name, m in matrices.items()}
    for chunk in layout.all_chunks(kit.GQA, "float16", mesh):
        for piece in pieces_of(chunk, matrices):
            r = piece.region
            seen[piece.matrix.name][r.top : r.bottom, r.left : r.right] += 1
    assert all((array == 1).all() for array in seen.values())


@given(st.integers(1, 100_000), st.integers(1, 8))
def test_jobs_keep_every_chunk_and_the_bound(kit, matrices, max_bytes, mesh):
    chunks = list(layout.all_chunks(kit.GQA, "float16", mesh))
    made = list(jobs(chunks, matrices, itemsize=2, max_bytes=max_bytes))
    assert sorted(c.name for job in made for c in job.chunks) == sorted(c.name for c in chunks)
    for job in made:
        assert len(job.chunks) == 1 or job.size_bytes(2) <= max_bytes
        assert len({chunk.variable.name for chunk in job.chunks}) == 1


def test_with_memory_enough_nothing_is_read_twice(kit, matrices):
    chunks = list(layout.all_chunks(kit.GQA, "float16", 4))
    made = list(jobs(chunks, matrices, itemsize=2, max_bytes=1 << 30))
    assert sum(map(bytes_read, made)) == 2 * sum(m.rows * m.cols for m in matrices.values())
    small = list(jobs(chunks, matrices, itemsize=2, max_bytes=1))
    assert sum(map(bytes_read, small)) > sum(map(bytes_read, made))
    assert all(len(by_matrix(job)) == 1 for job in made)


def test_regions_overlap_parts_in_the_matrix_coordinates():
    part = Part("f", 0, 8, rows=4, cols=4, dtype="float16", row=2, col=4)
    assert Region(0, 3, 0, 6).of(part) == Region(2, 3, 4, 6)
    assert Region(0, 2, 0, 9).of(part) is None
