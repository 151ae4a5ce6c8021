"""What TPU workers say of themselves: one small object each, overwritten, believed while fresh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from saxflow.errors import IntegrityError, NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.pipeline.services import Services


@dataclass(frozen=True)
class Worker:
    """One worker's last word.

    Args:
        worker: number, 0 runs the admin server.
        state: `booting`, `pulling`, `admin`, `server`, `ready` or `failed`.
        boot_id: of the VM.
        log: tail of its log.
    """

    worker: int
    state: str
    boot_id: str
    log: str


def read_workers(services: Services, core: Mapping[str, Any]) -> list[Worker]:
    """Return the workers of an attempt whose state objects are fresh, by number.

    Raises:
        IntegrityError: a state object is not what a worker writes.
    """
    prefix = Uri(core["cell"]["bucket"], core["cell"]["workers"])
    found: list[Worker] = []
    for item in services.objects.list(prefix):
        try:
            document, _ = services.objects.read_json(item.uri)
        except NotFoundError:
            continue
        if _age_seconds(services, item.uri, document) <= services.settings.state_stale_seconds:
            found.append(_worker(item.uri, document))
    return sorted(found, key=lambda worker: worker.worker)


def _worker(uri: Uri, document: Mapping[str, Any]) -> Worker:
    try:
        number, state = int(document["worker"]), str(document["state"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{uri} does not tell worker and state: {error!r}") from error
    return Worker(number, state, str(document.get("boot_id", "")), str(document.get("log", "")))


def _age_seconds(services: Services, uri: Uri, document: Mapping[str, Any]) -> float:
    try:
        said = datetime.fromisoformat(str(document["time"]))
    except (KeyError, ValueError) as error:
        raise IntegrityError(f"{uri} has no RFC 3339 time: {error!r}") from error
    return services.clock() - said.timestamp()
