"""Plans in the control bucket: stored once an attempt, named by object generation and digest.

The parts of an attempt are create-only; only a later attempt at the same generation replaces them,
after the earlier one has ended. `core.json` is written last, so a plan that can be found is whole.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from saxflow import names
from saxflow.errors import BusyError, InputError, IntegrityError, NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.pipeline.services import Services
from saxflow.plan import Plan, core_with_parts

CORE = "core.json"


@dataclass(frozen=True)
class PlanReference:
    """A stored plan, pinned.

    Args:
        name, generation, attempt: of the deployment.
        plan: gs:// URI of core.json.
        object_generation: of core.json.
        sha256: of core.json's bytes.
    """

    name: str
    generation: str
    attempt: int
    plan: str
    object_generation: str
    sha256: str

    def argument(self, **more: Any) -> str:
        """Return the JSON argument of an Execution."""
        return json.dumps({**asdict(self), **more})


def store_plan(services: Services, plan: Plan) -> PlanReference:
    """Store a plan's parts and then its core; an attempt stored before is returned as it is.

    Raises:
        BusyError: a newer attempt is stored already, or another writer is storing this one.
    """
    name, generation, attempt = _identity(plan.core)
    existing = find_plan(services, name, generation)
    if existing and existing.attempt >= attempt:
        return _only(existing, attempt)
    prefix = Uri(services.settings.control_bucket, names.plan_prefix(name, generation))
    stored = {part: _put(services, prefix.child(part), data) for part, data in plan.parts.items()}
    tpu = plan.tpu_part(
        startup_generation=stored["startup.sh"]["generation"],
        servable_generation=stored["servable.json"]["generation"],
    )
    stored["tpu.json"] = _put(services, prefix.child("tpu.json"), tpu)
    core = core_with_parts(plan.core, stored)
    guard = existing.object_generation if existing else "0"
    core_generation = services.objects.write(prefix.child(CORE), core, if_generation=guard)
    if core_generation is not None:
        return _reference(name, generation, attempt, prefix.child(CORE), core_generation, core)
    rival = find_plan(services, name, generation)
    if rival is None:
        raise BusyError(f"{prefix.child(CORE)} was written and deleted meanwhile; try again")
    return _only(rival, attempt)


def find_plan(services: Services, name: str, generation: str) -> PlanReference | None:
    """Return the stored plan of a generation, None when there is none."""
    uri = Uri(services.settings.control_bucket, names.plan_prefix(name, generation) + CORE)
    try:
        stored = services.objects.read(uri)
    except NotFoundError:
        return None
    data = stored.data or b""
    attempt = int(json.loads(data)["attempt"])
    return _reference(name, generation, attempt, uri, stored.generation, data)


def load_core(services: Services, uri: str, object_generation: str, sha256: str) -> dict[str, Any]:
    """Return the core of the plan that was meant, and no other.

    Raises:
        InputError: the URI is not one of the control bucket.
        NotFoundError: that generation of it is gone.
        IntegrityError: its bytes have another digest.
    """
    place = Uri.parse(uri)
    if place.bucket != services.settings.control_bucket:
        raise InputError(f"plan {uri!r} is not in gs://{services.settings.control_bucket}")
    data = services.objects.read(place, generation=object_generation).data or b""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise IntegrityError(f"{uri} has sha256 {found}, the caller meant {sha256}")
    return json.loads(data)


def load_part(services: Services, core: dict[str, Any], part: str) -> dict[str, Any]:
    """Return a JSON part of a plan at the generation that its core names."""
    place = core["parts"][part]
    uri = Uri(services.settings.control_bucket, place["name"])
    return services.objects.read_json(uri, generation=place["generation"])[0]


def _reference(
    name: str, generation: str, attempt: int, uri: Uri, object_generation: str, core: bytes
) -> PlanReference:
    digest = hashlib.sha256(core).hexdigest()
    return PlanReference(name, generation, attempt, str(uri), object_generation, digest)


def _identity(core: dict[str, Any]) -> tuple[str, str, int]:
    return core["name"], core["generation"], int(core["attempt"])


def _only(found: PlanReference, attempt: int) -> PlanReference:
    if found.attempt != attempt:
        raise BusyError(
            f"attempt {found.attempt} of {found.name} generation {found.generation} is stored;"
            f" attempt {attempt} comes too late"
        )
    return found


def _put(services: Services, uri: Uri, data: bytes) -> dict[str, str]:
    """Store one part; the generation it is found at, whether written now or before."""
    digest = hashlib.sha256(data).hexdigest()
    generation = services.objects.write(uri, data, if_generation="0")
    while generation is None:
        stored = services.objects.read(uri)
        if stored.data == data:
            generation = stored.generation
        else:
            generation = services.objects.write(uri, data, if_generation=stored.generation)
    return {"name": uri.name, "generation": generation, "sha256": digest}
