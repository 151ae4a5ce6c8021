"""The verbs of functions/publish_model: short, idempotent looks and nudges at one attempt's cell.

The Workflow loops over them with one deadline a stage:

    ready      all workers up, and the admin server lists a model server of the right chip
    publish    the admin server accepts the model (again is as good as once)
    status     followed to the end of loading; the server's own words when it failed
    probe      the golden prompt is answered: only then does the model serve
    unpublish  the admin server forgets the model (gone is as good as forgotten)

Replicas above zero do not mean loaded, and an idle server that gets no model means that the class
is not advertised; neither is said by SAX itself.

Source: facts on the admin's behaviour; design.md section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from saxflow.errors import DeadlineError, InputError, NotFoundError, ProtocolError, SaxError
from saxflow.gcp.translate import translated
from saxflow.pipeline.plans import load_part
from saxflow.pipeline.services import Services
from saxflow.pipeline.workers import Worker, read_workers
from saxflow.sax import Cell, Model, ModelStatus

CALL_SECONDS = 10.0
PROBE_SECONDS = 45.0
PROBE_TOKENS = 64
NOT_ADVERTISED_SECONDS = 60.0
"""A server that has joined and idles gets its model at the admin's next tick, 10 s later at most."""

_PENDING_CODES = frozenset({"NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED"})


@dataclass(frozen=True)
class Look:
    """What one look found: done, failed for good, or neither yet.

    Args:
        reason: a sentence about what was seen.
        retryable: of a failure, whether another attempt may help.
        log: an excerpt that shows it.
    """

    done: bool = False
    failed: bool = False
    reason: str = ""
    retryable: bool = False
    log: str = ""


def act(services: Services, core: dict[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Do one verb of a request {verb, since, zone}.

    Args:
        request: `since` is the Unix time of publishing, 0 before; `zone` is the TPU's.

    Raises:
        InputError: there is no such verb.
    """
    verb = str(request.get("verb"))
    if verb not in VERBS:
        raise InputError(f"verb is {verb!r}; use one of {', '.join(VERBS)}")
    publication = load_part(services, core, "publish.json")
    since = float(request.get("since") or 0)
    with Cell.open(publication["sax_root"], publication["cell"]) as cell:
        look = VERBS[verb](Visit(services, core, publication, cell, since, _zone(request)))
    return asdict(look)


@dataclass(frozen=True)
class Visit:
    """One call's view: plan core, publish.json, the cell, when it was published, the TPU's zone."""

    services: Services
    core: Mapping[str, Any]
    publication: Mapping[str, Any]
    cell: Cell
    since: float
    zone: str


def ready(visit: Visit) -> Look:
    """Look whether every worker is up and the admin server lists the right model server."""
    workers = read_workers(visit.services, visit.core)
    broken = [worker for worker in workers if worker.state == "failed"]
    if broken:
        return Look(
            failed=True,
            reason=f"worker {broken[0].worker} failed to start SAX",
            retryable=True,
            log=broken[0].log,
        )
    expected = _hosts(visit)
    up = [worker for worker in workers if worker.state == "ready"]
    if len(up) < expected:
        return Look(reason=_waiting_for(workers, expected), log=_last_log(workers))
    return _ask(visit, _server_listed)


def publish(visit: Visit) -> Look:
    """Ask the admin server for the model; one that is published already is as good."""
    return _ask(visit, _published)


def status(visit: Visit) -> Look:
    """Follow the loading of the published model."""
    return _ask(visit, _loading)


def probe(visit: Visit) -> Look:
    """Ask the golden prompt; a text is the only proof of serving."""
    return _ask(visit, _answered)


def unpublish(visit: Visit) -> Look:
    """Have the admin server forget the model."""
    return _ask(visit, _forgotten)


VERBS: Mapping[str, Callable[[Visit], Look]] = {
    "ready": ready,
    "publish": publish,
    "status": status,
    "probe": probe,
    "unpublish": unpublish,
}


def _zone(request: Mapping[str, Any]) -> str:
    zone = request.get("zone")
    if not isinstance(zone, str) or not zone:
        raise InputError(f"zone is {zone!r}; the zone of the QueuedResource was expected")
    return zone


def _hosts(visit: Visit) -> int:
    """Return how many workers the slice has; large ones are asked, for documents disagree."""
    known = visit.core["tpu"]["hosts"]
    if known:
        return int(known)
    project, node = visit.core["project"], visit.core["tpu"]["id"]
    name = f"projects/{project}/locations/{visit.zone}/nodes/{node}"
    with translated("tpu", f"get {name}"):
        found = visit.services.tpu.get_node(name=name, timeout=CALL_SECONDS)
    return len(found.network_endpoints)


def _ask(visit: Visit, look: Callable[[Visit], Look]) -> Look:
    """Look, and take a cell that cannot be asked yet for one that is not there yet."""
    try:
        return look(visit)
    except (NotFoundError, DeadlineError, ProtocolError) as error:
        return Look(reason=str(error))
    except SaxError as error:
        return Look(reason=str(error)) if error.code in _PENDING_CODES else _refused(error)


def _server_listed(visit: Visit) -> Look:
    wanted = (visit.publication["chip"], visit.publication["topology"])
    stats = visit.cell.stats(deadline_seconds=CALL_SECONDS)
    for stat in stats:
        if (stat.chip_type, stat.chip_topology) == wanted and stat.replicas > 0:
            return Look(done=True, reason=f"the admin server lists {stat.replicas} of {wanted[0]}")
    seen = ", ".join(f"{s.replicas} of {s.chip_type}/{s.chip_topology}" for s in stats) or "none"
    return Look(reason=f"no model server {wanted[0]}/{wanted[1]} has joined yet; seen: {seen}")


def _published(visit: Visit) -> Look:
    publication = visit.publication
    model = Model(
        publication["model_id"],
        publication["model_path"],
        publication["checkpoint"],
        int(publication["replicas"]),
        publication["overrides"],
    )
    try:
        visit.cell.publish(model, deadline_seconds=CALL_SECONDS)
    except SaxError as error:
        if error.code != "ALREADY_EXISTS":
            raise
        if "being unpublished" in str(error):
            return Look(reason=str(error))
    return Look(done=True, reason=f"{model.model_id} is published from {model.checkpoint}")


def _forgotten(visit: Visit) -> Look:
    model_id = visit.publication["model_id"]
    try:
        visit.cell.unpublish(model_id, deadline_seconds=CALL_SECONDS)
    except SaxError as error:
        if error.code != "NOT_FOUND":
            raise
    return Look(done=True, reason=f"{model_id} is not published")


def _answered(visit: Visit) -> Look:
    smoke = visit.publication["smoke"]
    tokens = min(PROBE_TOKENS, int(visit.publication["max_new_tokens"]))
    options = {"temperature": 0.0, "per_example_max_decode_steps": float(tokens)}
    model = visit.cell.model(visit.publication["model_id"])
    samples = model.generate(smoke["prompt"], options, deadline_seconds=PROBE_SECONDS)
    return _judge(smoke, samples[0].text if samples else "")


def _loading(visit: Visit) -> Look:
    model_id = visit.publication["model_id"]
    published = visit.cell.list(model_id, deadline_seconds=CALL_SECONDS)
    addresses = [address for found in published for address in found.addresses]
    if not addresses:
        return _unassigned(visit)
    statuses = [
        status
        for address in addresses
        for status in visit.cell.modelet(address).get_status(deadline_seconds=CALL_SECONDS)
        if status.model_id == model_id
    ]
    return _progress(model_id, statuses)


def _unassigned(visit: Visit) -> Look:
    waited = visit.services.clock() - visit.since
    path = visit.publication["model_path"]
    limit = NOT_ADVERTISED_SECONDS * visit.services.settings.deadline_scale
    if visit.since and waited > limit:
        return Look(
            failed=True,
            reason=f"no model server took {path} in {waited:.0f} s; its image does not advertise"
            " that class, or its mesh does not fit the chips",
        )
    return Look(reason=f"no model server has been given {path} yet")


def _progress(model_id: str, statuses: list[ModelStatus]) -> Look:
    failed = [status for status in statuses if status.status == "FAILED"]
    if failed:
        said = failed[0].failure_reason or "the server gave no reason"
        return Look(failed=True, reason=f"{model_id} did not load: {said}", log=said)
    if any(status.status == "LOADED" for status in statuses):
        return Look(done=True, reason=f"{model_id} is loaded")
    seen = ", ".join(status.status for status in statuses) or "not known to its server yet"
    return Look(reason=f"{model_id} is {seen}")


def _judge(smoke: Mapping[str, Any], text: str) -> Look:
    contains = smoke.get("contains")
    if contains and contains not in text:
        return Look(
            failed=True,
            reason=f"the golden prompt {smoke['prompt']!r} was answered {text!r}, without"
            f" {contains!r}",
        )
    if not text.strip():
        return Look(failed=True, reason=f"the golden prompt {smoke['prompt']!r} got no text")
    return Look(done=True, reason=f"{smoke['prompt']} {text.strip()}")


def _refused(error: SaxError) -> Look:
    return Look(failed=True, reason=str(error), retryable=error.retryable)


def _waiting_for(workers: list[Worker], expected: int) -> str:
    seen = ", ".join(f"{worker.worker} is {worker.state}" for worker in workers) or "none reports"
    return f"waiting for {expected} workers to be ready; {seen}"


def _last_log(workers: list[Worker]) -> str:
    return workers[-1].log if workers else ""
