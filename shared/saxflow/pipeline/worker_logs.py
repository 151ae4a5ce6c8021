"""What Batch Tasks and TPU workers say of themselves, gathered for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from saxflow.errors import NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.pipeline.plans import find_plan
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import event_objects


def worker_logs(services: Services, name: str) -> Iterator[dict[str, Any]]:
    """Yield {from, state, log} of every Task and worker of the newest planned generation.

    Raises:
        NotFoundError: no generation of the deployment has a plan.
    """
    core = _newest_core(services, name)
    checkpoint = core["checkpoint"]
    tasks = Uri(checkpoint["bucket"], f"{checkpoint['directory']}/progress/")
    for document, where in _documents(services, tasks):
        failure = document.get("failure") or {}
        log = (
            failure.get("reason") or f"{document['bytes_done']} of {document['bytes_total']} bytes"
        )
        yield {"from": where, "state": document["state"], "log": log}
    workers = Uri(core["cell"]["bucket"], core["cell"]["workers"])
    for document, where in _documents(services, workers):
        yield {"from": where, "state": document["state"], "log": document.get("log", "")}


def _newest_core(services: Services, name: str) -> dict[str, Any]:
    for generation in sorted(event_objects(services, name), key=int, reverse=True):
        reference = find_plan(services, name, generation)
        if reference:
            return services.objects.read_json(Uri.parse(reference.plan))[0]
    raise NotFoundError(f"deployment {name!r} has no plan; its manifest was rejected")


def _documents(services: Services, prefix: Uri) -> Iterator[tuple[dict[str, Any], str]]:
    for item in services.objects.list(prefix):
        data = services.objects.read(item.uri).data or b"{}"
        yield json.loads(data), str(item.uri)
