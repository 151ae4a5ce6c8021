"""Conversion and verification against the commands that move the same bytes and do nothing else."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.committed import write_committed
from benchmarks.processes import SAXFLOW, Pair, Run, in_turn, peak_mib, run, seconds_of

PAIRS = 5
FULL_PAIRS = 3
FULL_NEEDS_BYTES = 45_000_000_000
"""Input, output and a copy of a 7B, with room to spare."""


def run_case(folder: Path, name: str, dims: Any, pairs: int) -> dict[str, Any]:
    """Compare one conversion with `cp` of its source."""
    source, out, copy = folder / "source", folder / "out", folder / "copy"
    size = inputs.write_meta(source, dims, 1)
    run(["sh", "-c", f"cat {source}/* > /dev/null"])

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)
        copy.unlink(missing_ok=True)

    pair = in_turn(
        [*SAXFLOW, "convert", str(source), str(out), "--json"],
        ["cp", str(source / "consolidated.00.pth"), str(copy)],
        pairs=pairs,
        before=clear,
    )
    return _record(name, size, pair)


def _record(name: str, size: int, pair: Pair) -> dict[str, Any]:
    seconds = seconds_of(pair.ours)
    return {
        "case": name,
        "GB": round(size / 1e9, 2),
        "saxflow s": seconds,
        "other s": seconds_of(pair.theirs),
        "GB/s": round(size / 1e9 / seconds, 2),
        "speed ratio": round(pair.speed, 2),
        "saxflow peak MiB": peak_mib(pair.ours),
        "other peak MiB": peak_mib(pair.theirs),
    }


def against_torch(folder: Path) -> dict[str, Any]:
    """Compare the small case with loading everything."""
    source, out = folder / "source", folder / "out"
    size = inputs.write_meta(source, inputs.LLAMA_7B_4_LAYERS, 1)
    pair = in_turn(
        [*SAXFLOW, "convert", str(source), str(out), "--json"],
        [sys.executable, "-m", "benchmarks.torch_convert", str(source), str(out)],
        pairs=1,
        before=lambda: shutil.rmtree(out, ignore_errors=True),
    )
    return _record("4 layers of 7B, warm, against torch-load-everything", size, pair)


def run_full(folder: Path) -> list[dict[str, Any]]:
    """Return the full 7B case where the disk has room for it."""
    if shutil.disk_usage(folder).free < FULL_NEEDS_BYTES:
        return []
    return [run_case(folder, "7B, against cp", inputs.LLAMA_7B, FULL_PAIRS)]


def run_small(folder: Path) -> list[dict[str, Any]]:
    """Return the cases of 2.1 GB, which stay in the page cache."""
    small = run_case(folder, "4 layers of 7B, warm, against cp", inputs.LLAMA_7B_4_LAYERS, PAIRS)
    return [small, against_torch(folder)]


def memory(folder: Path) -> list[dict[str, Any]]:
    """Measure plans of 70B and the conversion of one of its layers."""
    sparse, wide, out = folder / "sparse", folder / "wide", folder / "out"
    inputs.write_meta(sparse, inputs.LLAMA_70B, 8, sparse=True)
    plan = run([*SAXFLOW, "convert", str(sparse), str(out), "--dry-run", "--json"])
    write_committed(sparse, out, 16)
    again = _reused(run([*SAXFLOW, "convert", str(sparse), str(out), "--json"]))
    shutil.rmtree(out)
    records = [
        _memory_record("70B, 8 shards: plan only", 0, plan),
        _memory_record("70B, 8 shards: unchanged, run again", 0, again),
    ]
    for shards in (8, 1):
        size = inputs.write_meta(wide, inputs.LLAMA_70B_1_LAYER, shards)
        done = run([*SAXFLOW, "convert", str(wide), str(out), "--mesh", "16", "--json"])
        name = f"one layer of 70B with embeddings, {shards} shard{'s' * (shards > 1)}, 16 chips"
        records.append(_memory_record(name, size, done))
        _reused(run([*SAXFLOW, "convert", str(wide), str(out), "--mesh", "16", "--json"]))
        shutil.rmtree(out)
        shutil.rmtree(wide)
    return records


def _reused(done: Run) -> Run:
    assert json.loads(done.stdout)["reused"]
    return done


def _memory_record(name: str, size: int, done: Run) -> dict[str, Any]:
    return {
        "case": name,
        "GB": round(size / 1e9, 2),
        "s": round(done.seconds, 2),
        "peak MiB": peak_mib([done]),
    }


def verification(folder: Path) -> list[dict[str, Any]]:
    """Compare `saxflow verify` with `cat` of the same files."""
    full = shutil.disk_usage(folder).free >= FULL_NEEDS_BYTES
    source, out = folder / "source", folder / "out"
    size = inputs.write_meta(source, inputs.LLAMA_7B if full else inputs.LLAMA_7B_4_LAYERS, 1)
    run([*SAXFLOW, "convert", str(source), str(out), "--json"])
    shutil.rmtree(source)
    pair = in_turn(
        [*SAXFLOW, "verify", str(out), "--json"],
        ["sh", "-c", f"find {out} -type f | xargs cat > /dev/null"],
        pairs=PAIRS,
        before=lambda: None,
    )
    return [_record("7B" if full else "4 layers of 7B", size, pair)]
