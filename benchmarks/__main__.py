"""`make bench`: run every subject in a scratch directory and write docs/benchmarks.md.

    python -m benchmarks [SUBJECT ...] [--scratch DIR] [--output FILE]

A subject is a function `run(folder) -> list of records` in a module of its own, named in SUBJECTS;
the records of one subject have the same keys and become one table.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SUBJECTS: Mapping[str, tuple[str, str]] = {
    "conversion": (
        "benchmarks.conversion:run_small",
        "Conversion of 2.1 GB, beside `cp` and beside loading everything with torch",
    ),
    "full": ("benchmarks.conversion:run_full", "Conversion of a whole 7B, beside `cp`"),
    "memory": ("benchmarks.conversion:memory", "Memory and plans at the widths of 70B"),
    "verify": ("benchmarks.conversion:verification", "Verification, beside `cat`"),
    "damage": ("benchmarks.robustness:run_all", "Random kills and random damage, 2.1 GB"),
    "journey": ("benchmarks.journey:run_all", "From an uploaded manifest to a served model"),
    "cell": ("benchmarks.cell:run", "The laptop's cell, beside plain torch"),
}
"""Name -> (module:function, title)."""

RESULTS = Path(__file__).parents[1] / "docs/benchmarks.md"


def main(argv: Sequence[str]) -> int:
    """Run the subjects that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], default=[])
    parser.add_argument("--scratch", type=Path, default=Path(".bench"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    for name in given.subjects or SUBJECTS:
        target, title = SUBJECTS[name]
        module, _, function = target.partition(":")
        folder = given.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            records = getattr(importlib.import_module(module), function)(folder)
        finally:
            shutil.rmtree(folder)
        section = f"## {title}\n\n{_conditions()}\n\n{table(records)}\n"
        print(section, flush=True)
        given.output.write_text(merged(given.output, title, section))
    return 0


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as a Markdown table."""
    if not records:
        return "Not measured: the disk has too little room."
    heads = list(records[0])
    rows = [heads, ["---"] * len(heads), *([_cell(r[h]) for h in heads] for r in records)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def merged(path: Path, title: str, section: str) -> str:
    """Return the document with one subject's section replaced or added."""
    text = path.read_text() if path.exists() else _PREAMBLE
    pattern = re.compile(rf"## {re.escape(title)}\n.*?(?=\n## |\Z)", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n{section}"


_PREAMBLE = """# Benchmarks

Written by `make bench`. Ratios are medians of runs in pairs: one of ours, one of the other, in turn,
on the same files, whole processes from start to exit. Absolute figures depend on the machine.
Peaks are of resident memory; the measuring process's own, about 116 MiB, is the least they show.
"""


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _conditions() -> str:
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {day}."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
