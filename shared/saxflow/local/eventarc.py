"""Eventarc: storage events as binary CloudEvents, POSTed to whom a trigger names.

At least once and unordered, as in the cloud: an event is written down when its object changes and
forgotten when its target has answered 2xx; until then it is sent again, waiting longer each time,
for 24 hours, across restarts. A target that is not up yet is only a failed attempt.

Source: googleapis/google-cloudevents proto/google/events/cloud/storage/v1, CloudEvents HTTP binding
1.0, cloud.google.com/eventarc/docs/retry-events.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from saxflow.local.clock import Clock
from saxflow.local.delivery import post
from saxflow.local.faults import Fault, Faults
from saxflow.local.replacing import replace_file
from saxflow.local.storage.resources import ObjectRecord

_LOG = logging.getLogger(__name__)
_TYPE_PREFIX = "google.cloud.storage.object.v1."
_RETENTION_SECONDS = 24 * 3600.0
_FIRST_BACKOFF_SECONDS = 0.5
_LAST_BACKOFF_SECONDS = 600.0
_TIMEOUT_SECONDS = 540.0
_WORKERS = 8


@dataclass(frozen=True)
class Trigger:
    """Which events go where.

    Args:
        name: identity across restarts.
        bucket: exact name.
        event_type: `google.cloud.storage.object.v1.finalized`, `.deleted` or `.metadataUpdated`.
        url: target of the POST.
    """

    name: str
    bucket: str
    event_type: str
    url: str


@dataclass
class Delivery:
    """One event on its way to one trigger's target.

    Args:
        attributes: of the CloudEvent, without `specversion`.
        first: seconds since the epoch when it was accepted.
        attempt: how often it was sent.
    """

    identity: str
    trigger: str
    attributes: dict[str, str]
    data: dict[str, Any]
    first: float
    attempt: int = 0


class Eventarc:
    """Triggers and the deliveries under way.

    Args:
        directory: where events wait that nobody has acknowledged.
        storage_root: returns the URL of the storage server, for links in the data.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        faults: Faults,
        storage_root: Callable[[], str],
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._faults = faults
        self._storage_root = storage_root
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._order = itertools.count()
        self._due: list[tuple[float, int, Delivery]] = []
        self._triggers: dict[str, Trigger] = {}
        self._threads: list[threading.Thread] = []
        self._orphans: list[Delivery] = []

    def start(self) -> None:
        """Take up what an earlier run left and begin to deliver."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._directory.glob("*.json")):
            self._orphans.append(Delivery(**json.loads(path.read_text())))
        self._threads = [
            threading.Thread(target=self._work, name=f"eventarc-{n}", daemon=True)
            for n in range(_WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop delivering; what is not acknowledged stays written down."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def add_trigger(self, trigger: Trigger) -> None:
        """Route events from now on, and those that wait for a trigger of this name."""
        with self._changed:
            self._triggers[trigger.name] = trigger
            mine = [each for each in self._orphans if each.trigger == trigger.name]
            self._orphans = [each for each in self._orphans if each.trigger != trigger.name]
            for delivery in mine:
                self._push(0.0, delivery)

    def on_event(self, event: str, record: ObjectRecord, _: Mapping[str, str]) -> None:
        """Accept a change of an object; called by the storage server."""
        event_type = _TYPE_PREFIX + event
        with self._changed:
            wanted = [
                trigger
                for trigger in self._triggers.values()
                if trigger.bucket == record.bucket and trigger.event_type == event_type
            ]
        for trigger in wanted:
            self._accept(trigger, event_type, record)

    def pending(self) -> int:
        """Return how many deliveries are not acknowledged."""
        return sum(1 for _ in self._directory.glob("*.json"))

    def _accept(self, trigger: Trigger, event_type: str, record: ObjectRecord) -> None:
        delivery = Delivery(
            uuid.uuid4().hex,
            trigger.name,
            event_attributes(event_type, record, self._clock.now().isoformat()),
            self._data(event_type, record),
            self._clock.time(),
        )
        try:
            replace_file(self._path(delivery), json.dumps(asdict(delivery)))
        except OSError as error:  # the change has happened; a restart alone would lose its event
            _LOG.warning("event %s is not written down: %s", delivery.attributes["id"], error)
        with self._changed:
            self._push(0.0, delivery)

    def _data(self, event_type: str, record: ObjectRecord) -> dict[str, Any]:
        resource = record.resource(self._storage_root())
        if event_type.endswith(".deleted"):
            resource["timeDeleted"] = self._clock.now().isoformat().replace("+00:00", "Z")
        return resource

    def _push(self, delay: float, delivery: Delivery) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), delivery))
        self._changed.notify()

    def _work(self) -> None:
        while (delivery := self._next()) is not None:
            try:
                self._attempt(delivery)
            except Exception:  # noqa: BLE001  # outermost loop of a worker
                _LOG.exception("delivery of %s failed", delivery.attributes.get("id"))
                self._again(delivery)

    def _next(self) -> Delivery | None:
        with self._changed:
            while not self._stopping.is_set():
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None

    def _attempt(self, delivery: Delivery) -> None:
        fault = self._faults.take("eventarc", "deliver", lambda: json.dumps(asdict(delivery)))
        if fault is not None and fault.kind == "stall":
            with self._changed:
                self._push(fault.stall_seconds, delivery)
            return
        if _acknowledged(self._send(delivery, fault)):
            self._path(delivery).unlink(missing_ok=True)
        elif not self._stopping.is_set():
            self._again(delivery)

    def _send(self, delivery: Delivery, fault: Fault | None) -> int:
        """Return the target's status, or 503 when it gave none or a fault swallowed it."""
        if fault is not None and fault.kind == "return":
            return fault.status
        trigger = self._triggers[delivery.trigger]
        body = json.dumps(delivery.data).encode()
        try:
            status = post(trigger.url, body, event_headers(delivery.attributes), _TIMEOUT_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            _LOG.info("%s: %s", trigger.url, error)
            return 503
        return status if fault is None else 503

    def _again(self, delivery: Delivery) -> None:
        if self._clock.time() - delivery.first > _RETENTION_SECONDS:
            _LOG.error("event %s given up after 24 h", delivery.attributes["id"])
            self._path(delivery).unlink(missing_ok=True)
            return
        delay = min(_FIRST_BACKOFF_SECONDS * 2**delivery.attempt, _LAST_BACKOFF_SECONDS)
        delivery.attempt += 1
        with self._changed:
            self._push(delay, delivery)

    def _path(self, delivery: Delivery) -> Path:
        return self._directory / f"{delivery.identity}.json"


def event_attributes(event_type: str, record: ObjectRecord, now: str) -> dict[str, str]:
    """Return the CloudEvent attributes of a storage event; the id is the same at every delivery."""
    return {
        "id": f"{record.generation}-{record.metageneration}-{event_type.rpartition('.')[2]}",
        "source": f"//storage.googleapis.com/projects/_/buckets/{record.bucket}",
        "type": event_type,
        "subject": f"objects/{record.name}",
        "time": now.replace("+00:00", "Z"),
        "bucket": record.bucket,
    }


def event_headers(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a binary-mode CloudEvent; values are percent-encoded where they must."""
    encoded = {f"ce-{key}": _header_value(value) for key, value in attributes.items()}
    return {"ce-specversion": "1.0", "Content-Type": "application/json", **encoded}


def _header_value(value: str) -> str:
    return quote(value, safe="!#$&'()*+,-./:;<=>?@[]^_`{|}~")


def _acknowledged(status: int) -> bool:
    return 200 <= status < 300
