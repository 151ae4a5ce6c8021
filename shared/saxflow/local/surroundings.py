"""What every service that starts processes shares: directories, environment, images, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saxflow.local.clock import Clock, RealClock
from saxflow.local.images import ImageRegistry
from saxflow.local.outcomes import Outcomes


@dataclass(frozen=True)
class Surroundings:
    """The surroundings of Batch and TPU in one embedded cloud.

    Args:
        data: data directory; Batch keeps to `batch` below it, TPU to `vms`.
        env: environment of every Task and container, before its own.
        images: image registry file; read again at every use.
        clock: time of states and events.
        outcomes: what capacity does to Jobs and QueuedResources.
    """

    data: Path
    env: Mapping[str, str]
    images: Path
    clock: Clock = field(default_factory=RealClock)
    outcomes: Outcomes = field(default_factory=Outcomes)

    def registry(self) -> ImageRegistry:
        """Return the image registry as it is now.

        Raises:
            InputError: the file cannot be used.
        """
        return ImageRegistry.load(self.images)
