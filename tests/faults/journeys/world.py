"""An embedded cloud with saxflow on it, and whole journeys through it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from saxflow.errors import SaxflowError
from saxflow.gcp.objects import Uri
from saxflow.head import Head
from saxflow.local.cloud import LocalCloud
from saxflow.pipeline import accept as accepting
from saxflow.pipeline import reconcile, remove
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.services import Services

from . import invariants
from .chaos import Chaos
from .sight import Sight

JOURNEY_SECONDS = 180.0
STUCK_SECONDS = 1.0


@dataclass
class Outcome:
    """How a journey ended and what is wrong with it."""

    name: str
    end: str
    seconds: float
    problems: list[str]
    revived: int = 0


class World:
    """An embedded cloud with saxflow on it, and journeys through it."""

    def __init__(self, cloud: LocalCloud, services: Services, chaos: Chaos, manifest: str) -> None:
        self.cloud = cloud
        self.services = services
        self.chaos = chaos
        self.manifest = manifest
        self.seen = Sight(cloud, services)
        self._numbers = itertools.count(1)
        self._reconciling = threading.Lock()

    # --- what a user does

    def name(self) -> str:
        """Return a deployment name that is not in use."""
        return f"case-{next(self._numbers):04d}"

    def upload(self, name: str, **changes: str) -> Notification:
        """Drop a manifest, without anybody being told."""
        text = self.manifest.replace("name: tiny-llama", f"name: {name}")
        text += f"checkpoint:\n  destination: gs://saxflow-models/{name}/llama\n"
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        uri = Uri(self.services.settings.manifests_bucket, f"{name}.yaml")
        generation = _certainly(
            lambda: self.services.objects.write(uri, text.encode(), if_generation=None)
        )
        return Notification("finalized", uri.bucket, uri.name, generation)

    def drop(self, name: str, *, services: Services | None = None, **changes: str) -> str:
        """Drop a manifest and deliver its event until it is taken; return its generation."""
        event = self.upload(name, **changes)
        _certainly(lambda: accepting.accept(services or self.services, event))
        return event.generation

    def hasty(self, lease_seconds: float | None) -> Services:
        """Return services whose plans have this lease."""
        if lease_seconds is None:
            return self.services
        settings = replace(self.services.settings, lease_seconds=lease_seconds)
        return replace(self.services, settings=settings)

    def remove(self, name: str, generation: str) -> None:
        """Delete a manifest and deliver its event until it is taken."""
        uri = Uri(self.services.settings.manifests_bucket, f"{name}.yaml")
        _certainly(lambda: self.services.objects.delete(uri))
        event = Notification("deleted", uri.bucket, uri.name, generation)
        _certainly(lambda: remove.remove(self.services, event))

    def reconcile(self, *, later: float = 0.0) -> reconcile.Report:
        """Make one pass, as if that many seconds later."""
        clock = self.services.clock
        with self._reconciling:
            return reconcile.reconcile(replace(self.services, clock=lambda: clock() + later))

    def kill(self, name: str) -> None:
        """Cancel every Execution of a deployment."""
        for execution in self.seen.running(name):
            with suppress(Exception):
                self.services.executions.cancel_execution(name=execution)

    # --- journeys

    def settle(
        self, name: str, done: Callable[[Head], bool], watch: Callable[[], None] | None
    ) -> int:
        """Wait until the head says so; reconcile whenever nothing runs. Return how often it did.

        Args:
            watch: called again and again meanwhile.
        """
        deadline = time.monotonic() + JOURNEY_SECONDS
        idle_since, passes = 0.0, 0
        while time.monotonic() < deadline:
            if watch:
                watch()
            found = self.seen.head(name)
            if found and done(found) and not self.seen.running(name):
                return passes
            if self.seen.running(name):
                idle_since = 0.0
            elif not idle_since:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > STUCK_SECONDS:
                self.reconcile()
                idle_since, passes = 0.0, passes + 1
            time.sleep(0.02)
        raise AssertionError(f"{name} is stuck: {self.seen.head(name)}, {self.seen.running(name)}")

    def deployed(self, name: str, generation: str, watch: Callable[[], None] | None = None) -> int:
        """Wait for the end of a deployment; return how often it had to be reconciled."""
        return self.settle(
            name,
            lambda head: (
                head.lease is None
                and head.finished is not None
                and (head.finished.generation, head.finished.attempt) == (generation, head.attempts)
            ),
            watch,
        )

    def deleted(self, name: str, watch: Callable[[], None] | None = None) -> int:
        """Wait for the end of a teardown; return how often it had to be reconciled."""
        return self.settle(
            name,
            lambda head: (
                head.lease is None
                and head.finished is not None
                and head.finished.outcome == "deleted"
                and head.serving is None
                and head.candidate is None
            ),
            watch,
        )

    def journey(self, name: str, *, lease_seconds: float | None = None) -> Outcome:
        """Deploy, look, delete, look; whatever Chaos holds in store for this name."""
        began = time.monotonic()
        generation, problems, end, revived = "", [], "stuck", 0
        try:
            generation = self.drop(name, services=self.hasty(lease_seconds))
            revived = self.deployed(name, generation)
            head = self.seen.head(name)
            end = head.finished.outcome if head and head.finished else "nothing"
            problems += invariants.after_deployment(self.seen, name, generation)
            self.remove(name, generation)
            revived += self.deleted(name)
            problems += invariants.after_teardown(self.seen, name, generation)
        except AssertionError as error:
            problems.append(str(error))
        return Outcome(name, end, time.monotonic() - began, problems, revived)


def _certainly(act: Callable[[], Any]) -> Any:
    """Repeat an act as Eventarc, or a user, does until it is taken."""
    for _ in range(20):
        try:
            return act()
        except SaxflowError:
            time.sleep(0.2)
    return act()
