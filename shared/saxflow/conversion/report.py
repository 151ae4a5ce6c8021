"""`report.json` beside the step directory: what was converted from what, and every digest.

Source: design.md section 6.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saxflow import __version__, layout
from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import Directory, crc32c_text
from saxflow.checkpoint.matrices import Source
from saxflow.conversion.written import Written
from saxflow.errors import IntegrityError, NotFoundError
from saxflow.weights import CONVERTER_VERSION, Dimensions, fingerprint

REPORT = "report.json"


@dataclass(frozen=True)
class Spec:
    """Everything that decides the bytes of a checkpoint, apart from the source.

    Args:
        dtype: `float16` or `bfloat16`.
        mesh: length of the serving mesh's `mdl` axis.
        compressor: a name of `layout.COMPRESSORS`.
        clamp: whether values beyond the dtype's range are cut instead of refused.
    """

    dtype: str = "float16"
    mesh: int = 1
    compressor: str = "none"
    clamp: bool = False

    def fingerprint(self, source: Source) -> str:
        """Return the 12 digits that name the checkpoint of a source."""
        facts = layout.layout_facts(self.mesh, self.compressor)
        if self.clamp:
            facts["clamp"] = True
        return fingerprint(source.files, dtype=self.dtype, layout=facts)


@dataclass(frozen=True)
class Report:
    """A report as read back.

    Args:
        directory: the destination as it was named then, as the commit markers repeat it.
        objects: name below the step directory -> what was written; empty when Tasks' records
            hold them.
    """

    directory: str
    fingerprint: str
    dimensions: Dimensions
    spec: Spec
    tasks: int
    objects: Mapping[str, Written]
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])


def compose(
    source: Source,
    source_uri: str,
    directory: str,
    spec: Spec,
    *,
    tasks: int,
    objects: Sequence[Written],
    figures: Mapping[str, Any],
) -> bytes:
    """Return the document, sealed with a crc32c of its own."""
    body: dict[str, Any] = {
        "directory": directory,
        "fingerprint": spec.fingerprint(source),
        "saxflow": __version__,
        "converter": CONVERTER_VERSION,
        "checkpoint": layout.STEP_DIRECTORY,
        "source": {
            "uri": source_uri,
            "format": source.format,
            "files": [
                {
                    "name": f.name,
                    "size": f.size_bytes,
                    "digest": f.digest,
                    "generation": f.generation,
                }
                for f in source.files
            ],
        },
        "dimensions": source.dimensions.as_dict(),
        "dtype": spec.dtype,
        "clamp": spec.clamp,
        "layout": layout.layout_facts(spec.mesh, spec.compressor),
        "tasks": tasks,
        "objects": {one.name: [one.size_bytes, one.crc32c] for one in sorted_by_name(objects)},
        "figures": dict(figures),
    }
    return json.dumps({**body, "seal": _seal(body)}, indent=1).encode()


def sorted_by_name(objects: Sequence[Written]) -> list[Written]:
    """Return objects in name order."""
    return sorted(objects, key=lambda one: one.name)


def read_report(directory: Directory) -> Report | None:
    """Return the report of a checkpoint's directory, None when there is none.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        raw = directory.read(REPORT)
    except NotFoundError:
        return None
    what = f"{directory.uri}/{REPORT}"
    try:
        body = json.loads(raw)
        if body.pop("seal") != _seal(body):
            raise IntegrityError(
                f"{what} was altered: its seal does not match; convert again with --overwrite"
            )
        facts = body["layout"]
        return Report(
            body["directory"],
            body["fingerprint"],
            Dimensions(**body["dimensions"]),
            Spec(body["dtype"], facts["mesh"], facts["compressor"], body["clamp"]),
            body["tasks"],
            {name: Written(name, *values) for name, values in body["objects"].items()},
            body["figures"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            f"{what} is damaged ({error!r}); convert again with --overwrite"
        ) from error


def _seal(body: Mapping[str, Any]) -> str:
    return crc32c_text(crc32c(json.dumps(body, sort_keys=True).encode()))
