"""Account for every object of a converted checkpoint before a marker may exist.

Pax reads a missing chunk as zeros and pads a wrong shape without a word, so the finished prefix is
listed and compared with what the plan says must be there (names, sizes) and with what the Tasks say
they wrote (sizes, crc32c). The verdict is small: the Workflow only needs yes or no and a reason.

Source: facts on what restores; design.md section 6.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from saxflow import layout
from saxflow.errors import IntegrityError
from saxflow.gcp.objects import Stored, Uri
from saxflow.pipeline.services import Services
from saxflow.weights import Dimensions

PROBLEMS_SHOWN = 5


@dataclass(frozen=True)
class Record:
    """What one Task says of one object it owns."""

    size_bytes: int
    crc32c: str


def commit_checkpoint(services: Services, core: Mapping[str, Any]) -> dict[str, Any]:
    """Compare listing, records and plan; store and return the verdict.

    Returns:
        {ok, objects, bytes, problems, reason}; `problems` counts all, `reason` shows the first.
    """
    checkpoint = core["checkpoint"]
    directory = Uri(checkpoint["bucket"], checkpoint["directory"])
    step = directory.child(layout.STEP_DIRECTORY + "/")
    listed = {item.uri.name.removeprefix(step.name): item for item in services.objects.list(step)}
    records = _records(services, directory, int(checkpoint["tasks"]))
    planned = layout.objects(
        Dimensions(**core["model"]["dimensions"]),
        checkpoint["dtype"],
        int(checkpoint["mesh"]),
        checkpoint["compressor"],
    )
    problems = list(differences(planned, records, listed))
    verdict = {
        "ok": not problems,
        "objects": len(listed),
        "bytes": sum(item.size_bytes for item in listed.values()),
        "problems": len(problems),
        "reason": _reason(checkpoint["step"], problems),
    }
    verdict_uri = directory.child("verdict.json")
    services.objects.write(verdict_uri, json.dumps(verdict).encode(), if_generation=None)
    return verdict


def differences(
    planned: Iterable[layout.ObjectPlan],
    records: Mapping[str, Record],
    listed: Mapping[str, Stored],
) -> Iterable[str]:
    """Yield a sentence for every object that plan, records and listing do not agree on.

    Args:
        planned: what must be there.
        records: what the Tasks wrote, by name relative to the step directory.
        listed: what is there, by the same names; commit markers are ignored.
    """
    expected = {item.name: item for item in planned}
    for name, item in expected.items():
        stored, record = listed.get(name), records.get(name)
        if stored is None:
            yield f"{name} is missing"
        elif item.size_bytes is not None and stored.size_bytes != item.size_bytes:
            yield f"{name} has {stored.size_bytes} bytes, the plan says {item.size_bytes}"
        elif record is None:
            yield f"{name} is in no Task's record"
        elif (record.size_bytes, record.crc32c) != (stored.size_bytes, stored.crc32c):
            yield (
                f"{name} has crc32c {stored.crc32c} and {stored.size_bytes} bytes, its Task wrote"
                f" {record.crc32c} and {record.size_bytes}"
            )
    for name in listed:
        if name not in expected and name not in layout.MARKERS:
            yield f"{name} does not belong there"


def _records(services: Services, directory: Uri, tasks: int) -> dict[str, Record]:
    """Return the union of all Tasks' records; Tasks that agree on an object may both own it."""
    union: dict[str, Record] = {}
    for index in range(tasks):
        uri = directory.child(f"tasks/{index}-of-{tasks}.json")
        document, _ = services.objects.read_json(uri)
        for entry in cast("list[dict[str, Any]]", document["objects"]):
            record = Record(int(entry["size"]), str(entry["crc32c"]))
            known = union.setdefault(str(entry["name"]), record)
            if known != record:
                raise IntegrityError(f"{uri} contradicts another Task about {entry['name']}")
    return union


def _reason(step: str, problems: list[str]) -> str:
    if not problems:
        return f"every object of {step} is accounted for"
    shown = "; ".join(problems[:PROBLEMS_SHOWN])
    more = f" and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
    return f"{step} is not what was planned: {shown}{more}; retry the deployment"
