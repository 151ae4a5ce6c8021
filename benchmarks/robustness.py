"""A hundred SIGKILLs and a hundred damages on 2.1 GB: what is lost, what goes unnoticed."""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from benchmarks import inputs
from benchmarks.processes import SAXFLOW, run
from saxflow.checkpoint.local_directory import TEMPORARY_SUFFIX
from saxflow.conversion.journal import read_journals
from saxflow.layout import MARKERS, STEP_DIRECTORY

ROUNDS = 100
BLOCK_BYTES = 4 << 20


def run_all(folder: Path) -> list[dict[str, Any]]:
    """Return one record for kills and one for damage."""
    source, out = folder / "source", folder / "out"
    inputs.write_meta(source, inputs.LLAMA_7B_4_LAYERS, 1)
    reference = folder / "reference"
    run([*SAXFLOW, "convert", str(source), str(reference), "--json"])
    chance = random.Random(0)
    kills = _kills(source, out, reference, chance)
    shutil.rmtree(out, ignore_errors=True)
    return [kills, _damages(reference, chance)]


def _record(what: str, rounds: int, bad: int, redone_mib: int | None) -> dict[str, Any]:
    return {"what": what, "rounds": rounds, "bad outcomes": bad, "most MiB redone": redone_mib}


def _kills(source: Path, out: Path, reference: Path, chance: random.Random) -> dict[str, Any]:
    done, different, lost, redone = 0, 0, 0, 0
    while done < ROUNDS:
        if _killed(source, out, chance.uniform(0.3, 4.0)):
            done += 1
            lost += _lost_chunks(out)
            redone = max(redone, _unfinished_bytes(out))
        else:
            different += not _same(out, reference)
            shutil.rmtree(out)
    run([*SAXFLOW, "convert", str(source), str(out), "--json"])
    different += not _same(out, reference)
    return _record("SIGKILL and run again", done, different + lost, round(redone / 2**20))


def _killed(source: Path, out: Path, seconds: float) -> bool:
    command = [*SAXFLOW, "convert", str(source), str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    status = process.wait()
    timer.cancel()
    return status == -signal.SIGKILL


def _lost_chunks(out: Path) -> int:
    """Return how many chunks the journal calls finished that are not there."""
    partial = out / ".partial"
    step = partial / STEP_DIRECTORY
    if not step.exists():
        return 0
    journalled = read_journals(partial / "tasks").values()
    return sum(
        not (step / one.name).exists() or (step / one.name).stat().st_size != one.size_bytes
        for one in journalled
    )


def _unfinished_bytes(out: Path) -> int:
    """Return how many bytes of chunks a kill left written that the next run writes again."""
    partial = out / ".partial"
    finished = read_journals(partial / "tasks") if partial.exists() else {}
    step = partial / STEP_DIRECTORY
    chunks = [
        path
        for path in step.glob("state/mdl_vars.*/[0-9]*")
        if path.relative_to(step).as_posix() not in finished
    ]
    return sum(path.stat().st_size for path in (*chunks, *partial.glob(f"*{TEMPORARY_SUFFIX}")))


def _same(one: Path, other: Path) -> bool:
    """Return whether two checkpoints hold the same bytes; markers tell where each of them lies."""
    steps = [root / STEP_DIRECTORY for root in (one, other)]
    files = [_names(step) for step in steps]
    names = sorted(files[0] - {*MARKERS})
    matching, _, _ = filecmp.cmpfiles(steps[0], steps[1], names, shallow=False)
    return files[0] == files[1] and len(matching) == len(names)


def _names(step: Path) -> set[str]:
    return {str(path.relative_to(step)) for path in step.rglob("*") if path.is_file()}


def _damages(out: Path, chance: random.Random) -> dict[str, Any]:
    files = sorted(p for p in (out / STEP_DIRECTORY).rglob("*") if p.is_file())
    unnoticed = 0
    for number in range(ROUNDS):
        path = chance.choice(files)
        undo = _flip if number % 2 else _cut
        restore = undo(path, chance)
        found = subprocess.run(
            [*SAXFLOW, "verify", str(out), "--json"], capture_output=True, check=False
        )
        unnoticed += found.returncode != 1
        restore()
    return _record("damage and verify", ROUNDS, unnoticed, None)


def _flip(path: Path, chance: random.Random) -> Any:
    place, bit = chance.randrange(path.stat().st_size), 1 << chance.randrange(8)

    def change() -> None:
        with path.open("r+b") as file:
            file.seek(place)
            byte = file.read(1)[0]
            file.seek(place)
            file.write(bytes([byte ^ bit]))

    change()
    return change


def _cut(path: Path, chance: random.Random) -> Any:
    size = path.stat().st_size
    keep = max(chance.randrange(size), size - BLOCK_BYTES)
    with path.open("rb") as file:
        file.seek(keep)
        tail = file.read()
    os.truncate(path, keep)

    def restore() -> None:
        with path.open("ab") as file:
            file.write(tail)

    return restore
