"""A committed checkpoint of a real shape whose chunks are holes: what a second run finds."""

from __future__ import annotations

from pathlib import Path

from saxflow import layout
from saxflow.checkpoint.opening import open_directory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.report import REPORT, Spec, compose
from saxflow.conversion.written import Written

NO_DIGEST = "AAAAAA=="


def write_committed(source: Path, out: Path, mesh: int) -> None:
    """Write what converting `source` would leave in `out`, without a byte of weights."""
    spec = Spec("float16", mesh, "none", clamp=False)
    step = out / layout.STEP_DIRECTORY
    with open_directory(str(source)) as files:
        weights = read_source(files)
        dims = weights.dimensions
        documents = {
            **layout.documents(dims, spec.dtype, mesh, spec.compressor),
            **layout.marker_texts(str(out)),
        }
        objects = [Written.of(name, data) for name, data in documents.items()]
        for name, data in documents.items():
            _file(step / name).write_bytes(data)
        for chunk in layout.all_chunks(dims, spec.dtype, mesh):
            size = chunk.size_bytes(layout.itemsize_of(spec.dtype))
            with _file(step / chunk.name).open("wb") as file:
                file.truncate(size)
            objects.append(Written(chunk.name, size, NO_DIGEST))
        report = compose(weights, files.uri, str(out), spec, tasks=1, objects=objects, figures={})
        (out / REPORT).write_bytes(report)


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
