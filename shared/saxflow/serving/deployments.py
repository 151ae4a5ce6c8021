"""From the name a client gives to the model that serves it, through the heads.

A client says a deployment's name or `/sax/<cell>/<model>`. Heads and what the plan says of the
servable are read from the control bucket and believed for a few seconds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from saxflow import names
from saxflow.errors import (
    InputError,
    IntegrityError,
    NotFoundError,
    RequestError,
    SaxflowError,
    TransientError,
)
from saxflow.gcp.objects import Uri
from saxflow.head import Attempt, Head
from saxflow.pipeline.heads import head_names, read_head
from saxflow.pipeline.services import Services
from saxflow.sax.names import ModelName
from saxflow.sax.servable import Servable

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A model that serves.

    Args:
        deployment: its name.
        model: its SAX name.
        sax_root: where its cell is found.
        servable: lengths and tokenizer.
        created: Unix seconds at which its TPU became active, 0 when unknown.
    """

    deployment: str
    model: ModelName
    sax_root: str
    servable: Servable
    created: int


class Deployments:
    """All deployments of one installation; methods wait for Cloud Storage, so call from a thread."""

    def __init__(
        self,
        services: Callable[[], Services],
        *,
        believe_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._believe_seconds = believe_seconds
        self._clock = clock
        self._found: dict[str, tuple[float, Target]] = {}
        self._servables: dict[tuple[str, str], Servable] = {}

    def known(self, name: str, *, stale: bool = False) -> Target | None:
        """Return what is still believed of a name, without a look; any age will do if `stale`."""
        found = self._found.get(name)
        if found is None or (not stale and self._clock() - found[0] >= self._believe_seconds):
            return None
        return found[1]

    def believes(self, target: Target) -> bool:
        """Return whether some name was last found to lead to a target's cell."""
        return any(found.sax_root == target.sax_root for _, found in self._found.values())

    def find(self, name: str, *, fresh: bool = False) -> Target:
        """Return what serves under a name.

        Args:
            fresh: look at the head now, whatever was believed.

        Raises:
            NotFoundError: no such deployment, or none serves that SAX model.
            TransientError: it does not serve yet.
            RequestError: several deployments serve that SAX model.
            IntegrityError: its head or its plan cannot be read.
        """
        known = None if fresh else self.known(name)
        if known is not None:
            return known
        try:
            target = self._by_model(name) if name.startswith("/") else self._by_deployment(name)
        except (NotFoundError, TransientError):
            self._found.pop(name, None)
            raise
        self._found[name] = (self._clock(), target)
        return target

    def all(self) -> list[Target]:
        """Return everything that serves, in the order of names; what is broken is only logged."""
        targets: list[Target] = []
        services = self._services()
        for name in head_names(services):
            try:
                found = read_head(services, name)
                if found is not None and found[0].serving is not None:
                    targets.append(self._target(name, found[0].serving))
            except IntegrityError as error:
                _LOG.warning("deployment %s is left out: %s", name, error)
        return targets

    def _by_deployment(self, name: str) -> Target:
        found = read_head(self._services(), name) if names.is_deployment_name(name) else None
        if found is None:
            raise NotFoundError(f"there is no deployment {name!r}; `saxflow status` lists them")
        head = found[0]
        if head.serving is None:
            raise _not_serving(head)
        return self._target(name, head.serving)

    def _by_model(self, name: str) -> Target:
        model_id = str(ModelName.parse(name))
        targets = [target for target in self.all() if str(target.model) == model_id]
        if not targets:
            raise NotFoundError(f"no deployment serves {name}; GET /v1/models lists what there is")
        if len(targets) > 1:
            listed = ", ".join(target.deployment for target in targets)
            raise RequestError(
                f"{name} is served by several deployments ({listed}); name the deployment",
                param="model",
                code="ambiguous_model",
            )
        return targets[0]

    def _target(self, name: str, serving: Attempt) -> Target:
        try:
            model = ModelName.parse(serving.model_id)
        except InputError as error:
            raise IntegrityError(f"the head of {name}: {error}") from error
        servable = self._servable(name, serving.generation)
        return Target(name, model, serving.sax_root, servable, int(serving.active_at))

    def _servable(self, name: str, generation: str) -> Servable:
        """Return a plan's servable, which never changes for a generation."""
        if (name, generation) not in self._servables:
            place = Uri(
                self._services().settings.control_bucket,
                f"{names.plan_prefix(name, generation)}servable.json",
            )
            try:
                data = self._services().objects.read(place).data or b""
                self._servables[name, generation] = Servable.from_json(data)
            except (InputError, NotFoundError) as error:
                raise IntegrityError(f"the plan of {name}, {place}: {error}") from error
        return self._servables[name, generation]


def _not_serving(head: Head) -> SaxflowError:
    if not head.wanted:
        return NotFoundError(f"deployment {head.name} was deleted")
    phase = head.candidate.phase if head.candidate and head.candidate.phase else "accepted"
    return TransientError(
        f"deployment {head.name} does not serve yet ({phase}); `saxflow watch {head.name}` follows it"
    )
