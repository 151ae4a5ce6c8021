"""What can be seen of a deployment without a call that `Chaos` would count."""

from __future__ import annotations

import json

from google.api_core import exceptions

from saxflow import events
from saxflow import head as heads
from saxflow.events import Event
from saxflow.head import Head
from saxflow.local.cloud import LocalCloud
from saxflow.local.storage.listing import Query
from saxflow.pipeline.services import Services
from saxflow.stack.laptop import LOCATION, PROJECT

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
ZONES = ("us-central1-a", "us-east5-c")


class Sight:
    """Looks at the disk of an embedded cloud, and at what runs in it."""

    def __init__(self, cloud: LocalCloud, services: Services) -> None:
        self._cloud = cloud
        self._services = services

    def head(self, name: str) -> Head | None:
        """Return a head from the disk."""
        text = self._stored(f"deployments/{name}/head.json")
        return heads.from_json(json.loads(text)) if text else None

    def log(self, name: str, generation: str) -> list[Event]:
        """Return a generation's events from the disk."""
        names = self.names("saxflow-control", f"deployments/{name}/{generation}/events/")
        texts = (self._stored(each) for each in names)
        return [events.decode(text) for text in texts if text]

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the objects below a prefix from the disk."""
        return list(self.generations(bucket, prefix))

    def generations(self, bucket: str, prefix: str) -> dict[str, int]:
        """Return the objects below a prefix from the disk, with their generations."""
        records, _ = self._cloud.storage.store.list(bucket, Query(prefix=prefix))
        return {record.name: record.generation for record in records}

    def tpus(self, name: str) -> list[str]:
        """Return the QueuedResources of a deployment."""
        found: list[str] = []
        for zone in ZONES:
            for each in self._services.tpu.list_queued_resources(
                parent=f"projects/{PROJECT}/locations/{zone}"
            ):
                if f"/sf-{name}-" in each.name:
                    found.append(each.name.rpartition("/")[2])
        return found

    def jobs(self, name: str) -> list[str]:
        """Return the states of a deployment's Jobs."""
        jobs = self._services.batch.list_jobs(parent=PARENT)
        return [job.status.state.name for job in jobs if f"/sf-{name}-" in job.name]

    def running(self, name: str) -> list[str]:
        """Return the Executions of a deployment that have not ended."""
        shelf = self._cloud.executions._shelf
        alive = [shelf.known[each] for each in list(shelf.live)]
        return [each.name for each in alive if each.labels["deployment"] == name]

    def _stored(self, name: str) -> bytes | None:
        try:
            _, file = self._cloud.storage.store.open("saxflow-control", name)
        except exceptions.NotFound:
            return None
        with file:
            return file.read()
