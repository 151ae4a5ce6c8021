"""What Batch Tasks and TPU workers say of themselves, gathered for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
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
        yield {"from": where, "state": document.get("state"), "log": _task_log(document)}
    workers = Uri(core["cell"]["bucket"], core["cell"]["workers"])
    for document, where in _documents(services, workers):
        yield {"from": where, "state": document.get("state"), "log": document.get("log", "")}


def _task_log(document: dict[str, Any]) -> str:
    failure = document.get("failure")
    if failure:
        return str(failure["reason"])
    return f"{document.get('bytes_done', 0)} of {document.get('bytes_total', 0)} bytes"


def _newest_core(services: Services, name: str) -> dict[str, Any]:
    for generation in sorted(event_objects(services, name), key=int, reverse=True):
        reference = find_plan(services, name, generation)
        if reference:
            return services.objects.read_json(Uri.parse(reference.plan))[0]
    raise NotFoundError(f"deployment {name!r} has no plan; its manifest was rejected")


def _documents(services: Services, prefix: Uri) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield what is there to read; what is deleted meanwhile has no more to say."""
    for item in services.objects.list(prefix):
        with suppress(NotFoundError):
            yield services.objects.read_json(item.uri)[0], str(item.uri)
