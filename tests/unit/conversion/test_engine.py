import mmap

import ml_dtypes
import numpy as np
import pytest

from saxflow import layout
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.matrices import Part
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.engine import (
    MAX_BLOCK_BYTES,
    BlockReader,
    Options,
    Tally,
    allocate,
    block_rows,
    run_jobs,
    share_memory,
)
from saxflow.conversion.work import jobs
from saxflow.errors import InputError, NotFoundError

MIB = 1 << 20


def test_memory_is_shared_among_as_many_workers_as_fit():
    one = share_memory(100 * MIB, 64 * MIB, remote=True)
    assert (one.workers, one.job_bytes) == (1, 100 * MIB - MAX_BLOCK_BYTES)
    many = share_memory(1024 * MIB, 64 * MIB, remote=True)
    assert many.workers == 8
    assert many.workers * (many.job_bytes + MAX_BLOCK_BYTES) <= 1024 * MIB


def test_too_little_memory_says_how_much_is_needed():
    with pytest.raises(InputError, match="64MiB is too little for one chunk; give at least 96MiB"):
        share_memory(64 * MIB, 64 * MIB, remote=False)


@pytest.mark.parametrize(
    ("row_bytes", "rotary_head", "rows"),
    [(8192, 0, 1024), (57344, 0, 585), (64 * MIB, 0, 1), (8192, 128, 1024), (256, 0, 4096)],
)
def test_blocks_are_whole_tiles_or_heads(row_bytes, rotary_head, rows):
    part = Part("f", 0, row_bytes, 10**6, row_bytes // 2, "float16")
    assert block_rows(part, rotary_head, MIB) == rows


@pytest.mark.parametrize("advice", [None, getattr(mmap, "MADV_HUGEPAGE", None), 9999])
def test_memory_is_zeroed_with_or_without_huge_pages(monkeypatch, advice):
    if advice is None:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    else:
        monkeypatch.setattr(mmap, "MADV_HUGEPAGE", advice, raising=False)
    arena = allocate(5 << 20)
    assert arena[:] == bytes(5 << 20)
    assert np.frombuffer(arena, np.uint8).ctypes.data % mmap.PAGESIZE == 0


def test_blocks_of_wider_rows_are_strided_views(tmp_path):
    stored = np.arange(40, dtype=np.float16).reshape(4, 10)
    (tmp_path / "f").write_bytes(b"head" + stored.tobytes())
    part = Part("f", 4 + 2 * 2, 20, 4, 5, "float16", row=7)
    tally = Tally()
    (found,) = BlockReader(LocalDirectory(tmp_path), tally).blocks(part, 8, 10, 0)
    assert found[0] == 8
    assert np.array_equal(found[1], stored[1:3, 2:7])
    assert tally.bytes_read == 20 + 10


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_writes_the_same(tmp_path, kit, tiny, workers):
    chunks = list(layout.all_chunks(kit.GQA, "float16", 2))
    seen = []
    with open_directory(str(tiny)) as files, open_directory(str(tmp_path)) as target:
        planned = list(jobs(chunks, read_source(files).matrices, itemsize=2, max_bytes=10_000))
        tally = run_jobs(
            planned, files, target, Options("float16"), workers, lambda _, w: seen.extend(w)
        )
    assert sorted(one.name for one in seen) == sorted(chunk.name for chunk in chunks)
    assert tally.bytes_written == sum(one.size_bytes for one in seen)
    kit_values = kit.model(kit.GQA).expected("float16")
    name = "mdl_vars.params.lm.final_ln.scale"
    raw = (tmp_path / f"checkpoint_00000000/state/{name}/0").read_bytes()
    assert np.array_equal(np.frombuffer(raw, np.float16), kit_values[name])


def test_the_first_failure_stops_all(tmp_path, kit, tiny):
    chunks = list(layout.all_chunks(kit.GQA, "float16", 2))
    with open_directory(str(tiny)) as files:
        planned = list(jobs(chunks, read_source(files).matrices, itemsize=2, max_bytes=1))
    with LocalDirectory(tmp_path / "nowhere") as empty, pytest.raises(NotFoundError):
        run_jobs(planned, empty, empty, Options("float16"), 2, lambda *_: None)


def test_nothing_to_do_is_done_at_once(tmp_path):
    with LocalDirectory(tmp_path) as both:
        tally = run_jobs([], both, both, Options("float16"), 2, lambda *_: None)
    assert tally.bytes_written == 0


def test_bfloat16_values_pass_unchanged(tmp_path, kit, tiny):
    model = kit.model(kit.GQA).expected("bfloat16")
    assert all(value.dtype == ml_dtypes.bfloat16 for value in model.values())
