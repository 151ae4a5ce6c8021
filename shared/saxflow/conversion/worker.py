"""The Task of a Batch Job: convert a share of a checkpoint into its fingerprint's directory.

It writes objects, its account (`tasks/<i>-of-<n>.json`), its progress (`progress/<i>-of-<n>.json`,
about once a second) and, as Task 0, `report.json`; never a commit marker and never an event.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from saxflow import layout
from saxflow.checkpoint.directory import Directory
from saxflow.checkpoint.matrices import Source
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.digests import check_sha256, check_stored_md5, check_unchanged
from saxflow.conversion.report import REPORT, Spec, compose, sorted_by_name
from saxflow.conversion.task import (
    DEFAULT_MAX_MEMORY,
    Ends,
    Progress,
    Share,
    TaskResult,
    peak_rss_bytes,
    run_task,
)
from saxflow.errors import SaxflowError, WeightsError

PROGRESS_SECONDS = 1.0
RETRYABLE_EXIT_CODE = 6


@dataclass(frozen=True)
class Order:
    """What the Job asks of a Task."""

    source: str
    destination: str
    fingerprint: str
    spec: Spec
    share: Share
    sha256: Mapping[str, str]
    max_memory: int


def main(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run one Task and return its exit code; the outermost loop of the worker."""
    order = parse_order(argv, os.environ if environ is None else environ)
    try:
        with open_directory(order.destination) as target:
            return run_order(order, target)
    except SaxflowError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def parse_order(argv: Sequence[str], environ: Mapping[str, str]) -> Order:
    """Read flags and the two Batch variables; a wrong flag exits with 2."""
    parser = argparse.ArgumentParser(prog="convert_checkpoint")
    parser.add_argument("--source", required=True)
    parser.add_argument("--destination", required=True, help="directory named by the fingerprint")
    parser.add_argument("--fingerprint", required=True)
    parser.add_argument("--dtype", default="float16", choices=sorted(layout.ITEMSIZE))
    parser.add_argument("--mesh", type=_count, default=1)
    parser.add_argument("--compressor", default="none", choices=sorted(layout.COMPRESSORS))
    parser.add_argument("--clamp", action="store_true")
    parser.add_argument("--sha256", type=_digests, default="{}", help="JSON: file name to digest")
    parser.add_argument("--max-memory", type=_count, default=DEFAULT_MAX_MEMORY, help="bytes")
    given = parser.parse_args(argv)
    return Order(
        given.source,
        given.destination,
        given.fingerprint,
        Spec(given.dtype, given.mesh, given.compressor, given.clamp),
        _share(parser, environ),
        given.sha256,
        given.max_memory,
    )


def run_order(order: Order, target: Directory) -> int:
    """Run a Task, keeping its progress object up to date to the end."""
    reporter = ProgressReporter(target, order.share)
    try:
        with reporter, open_directory(order.source) as files:
            _convert(order, files, target, reporter)
    except SaxflowError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)  # noqa: T201
        reporter.finish("failed", _failure(str(error), error.exit_code))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the outermost loop: nothing may leave without a record
        traceback.print_exc()
        reporter.finish("failed", _failure(f"unexpected {type(error).__name__}: {error}", 1))
        return 1
    reporter.finish("succeeded", None)
    return 0


def _convert(order: Order, files: Directory, target: Directory, reporter: ProgressReporter) -> None:
    source = read_source(files)
    _require_fingerprint(order, files, source)
    check_stored_md5(files)
    check_sha256(files, order.sha256, order.share)
    result = run_task(
        Ends(files, target),
        source,
        order.spec,
        order.share,
        max_memory=order.max_memory,
        on_progress=reporter.update,
    )
    check_unchanged(files, source)
    if order.share.index == 0:
        _write_report(order, source, target, result)
    record = json.dumps(_record(order, result)).encode()
    target.overwrite(f"tasks/{order.share.name}.json", record)


def _require_fingerprint(order: Order, files: Directory, source: Source) -> None:
    """Refuse a source that is not the one that was planned, and name what changed last."""
    found = order.spec.fingerprint(source)
    if found == order.fingerprint:
        return
    entries = files.entries(recursive=False)
    newest = max(source.files, key=lambda file: entries[file.name].changed)
    raise WeightsError(
        f"{order.source} has fingerprint {found}, but {order.fingerprint} was planned:"
        f" {newest.name} changed last ({_when(entries[newest.name].changed)});"
        " drop the manifest again to plan for what is there now"
    )


def _when(changed: str) -> str:
    """Return RFC 3339 for what a listing says: nanoseconds on a disk."""
    if not changed.isdecimal():
        return changed
    return datetime.fromtimestamp(int(changed) / 1e9, UTC).isoformat(timespec="seconds")


def _record(order: Order, result: TaskResult) -> dict[str, Any]:
    return {
        "task": order.share.index,
        "count": order.share.count,
        "fingerprint": order.fingerprint,
        "objects": [
            {"name": one.name, "size": one.size_bytes, "crc32c": one.crc32c}
            for one in sorted_by_name(result.objects)
        ],
        **result.figures(),
    }


def _write_report(order: Order, source: Source, target: Directory, result: TaskResult) -> None:
    figures = {"seconds": round(result.seconds, 3), "peak_rss_bytes": peak_rss_bytes()}
    document = compose(
        source,
        order.source,
        order.destination,
        order.spec,
        tasks=order.share.count,
        objects=(),
        figures=figures,
    )
    target.overwrite(REPORT, document)


class ProgressReporter:
    """Keeps `progress/<i>-of-<n>.json` current from a thread of its own.

    Losing one write is harmless, so a failure is printed and the next one may succeed.
    """

    def __init__(self, target: Directory, share: Share) -> None:
        self._target = target
        self._share = share
        self._latest = Progress(0, 0, 0, 0.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ProgressReporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def update(self, progress: Progress) -> None:
        """Take note of how far the Task is."""
        self._latest = progress

    def finish(self, state: str, failure: dict[str, Any] | None) -> None:
        """Write the last word."""
        self._write(state, failure)

    def _run(self) -> None:
        self._write("running", None)
        while not self._stop.wait(PROGRESS_SECONDS):
            self._write("running", None)

    def _write(self, state: str, failure: dict[str, Any] | None) -> None:
        latest = self._latest
        document = {
            "task": self._share.index,
            "count": self._share.count,
            "state": state,
            "bytes_done": latest.bytes_done,
            "bytes_total": latest.bytes_total,
            "bytes_per_second": round(latest.bytes_per_second),
            "eta_seconds": None if latest.eta_seconds is None else round(latest.eta_seconds, 1),
            "variable": latest.variable,
            "updated": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "failure": failure,
        }
        try:
            self._target.overwrite(
                f"progress/{self._share.name}.json", json.dumps(document).encode()
            )
        except SaxflowError as error:
            print(f"convert_checkpoint: progress not written: {error}", file=sys.stderr)  # noqa: T201


def _failure(reason: str, exit_code: int) -> dict[str, Any]:
    retryable = exit_code == RETRYABLE_EXIT_CODE
    return {"reason": reason, "retryable": retryable, "exit_code": exit_code}


def _share(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> Share:
    index, count = (
        environ.get(f"BATCH_TASK_{name}", default)
        for name, default in (("INDEX", "0"), ("COUNT", "1"))
    )
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        parser.error(f"BATCH_TASK_INDEX {index!r} of BATCH_TASK_COUNT {count!r} is no Task")
    return Share(int(index), int(count))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)


def _digests(text: str) -> Mapping[str, str]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise argparse.ArgumentTypeError("must map file names to hex digests")
    return value
