"""The wiring of the functions: settings and clients, built once a process, handed to every step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from saxflow.gcp import clients
from saxflow.gcp.objects import Objects
from saxflow.settings import Settings, load_settings

if TYPE_CHECKING:
    from google.cloud import batch_v1, pubsub_v1, tpu_v2
    from google.cloud.workflows import executions_v1


@dataclass
class Services:
    """What a step may reach.

    Args:
        settings: the operator's decisions.
        objects: Cloud Storage.
        clock: Unix seconds now.
    """

    settings: Settings
    objects: Objects
    clock: Callable[[], float] = field(default=time.time)

    @property
    def publisher(self) -> pubsub_v1.PublisherClient:
        """Pub/Sub, in order within a key."""
        return _publisher(self.settings)

    @property
    def executions(self) -> executions_v1.ExecutionsClient:
        """Executions of Workflows."""
        return _executions(self.settings)

    @property
    def tpu(self) -> tpu_v2.TpuClient:
        """Cloud TPU."""
        return _tpu(self.settings)

    @property
    def batch(self) -> batch_v1.BatchServiceClient:
        """Batch."""
        return _batch(self.settings)


@cache
def services() -> Services:
    """Return the services of this process, after its environment."""
    settings = load_settings()
    return Services(settings, Objects(clients.storage_client(settings.project, settings.endpoints)))


@cache
def _publisher(settings: Settings) -> pubsub_v1.PublisherClient:
    return clients.publisher_client(settings.endpoints)


@cache
def _executions(settings: Settings) -> executions_v1.ExecutionsClient:
    return clients.executions_client(settings.endpoints)


@cache
def _tpu(settings: Settings) -> tpu_v2.TpuClient:
    return clients.tpu_client(settings.endpoints)


@cache
def _batch(settings: Settings) -> batch_v1.BatchServiceClient:
    return clients.batch_client(settings.endpoints)
