"""Every event type with the stage and the state it leads to, in one table.

Source: design.md section 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "dev.saxflow.deployment."


@dataclass(frozen=True)
class EventType:
    """One row of the table.

    Args:
        name: without the prefix, for example `model.serving`.
        state: the state of the deployment after it; conversion, TPU and the start of SAX run side
            by side, so for them `fold` has the last word; empty adds nothing of its own.
        meaning: one sentence for the documentation.
    """

    name: str
    state: str
    meaning: str

    @property
    def stage(self) -> str:
        """What the deployment is busy with: the first part of the name."""
        return self.name.partition(".")[0]


TYPES: Mapping[str, EventType] = {
    row.name: row
    for row in (
        EventType("manifest.accepted", "accepted", "the manifest is valid; an Execution will start"),
        EventType("manifest.rejected", "rejected", "the manifest cannot be used; every problem is listed"),
        EventType("weights.fetching", "fetching", "weights are being copied from where the manifest says"),
        EventType("weights.fetched", "fetching", "the weights are complete in the models bucket"),
        EventType("conversion.started", "converting", "the Batch Job exists"),
        EventType("conversion.progressed", "converting", "bytes, rate and ETA over all Tasks"),
        EventType("conversion.reused", "", "a committed checkpoint of the same fingerprint exists; no weights are read"),
        EventType("conversion.finished", "converting", "every object of the checkpoint is written"),
        EventType("checkpoint.committed", "", "every object is accounted for and the markers exist"),
        EventType("tpu.requested", "", "a QueuedResource was created in one zone"),
        EventType("tpu.waiting", "", "the QueuedResource waits for capacity, or the next zone is tried"),
        EventType("tpu.active", "", "the QueuedResource is ACTIVE; chips are billed from here"),
        EventType("sax.starting", "starting", "admin server and model servers are coming up"),
        EventType("sax.ready", "starting", "all workers are up and the admin server lists the model server"),
        EventType("model.publishing", "publishing", "publish was asked of the admin server"),
        EventType("model.loading", "loading", "the model server is reading the checkpoint"),
        EventType("model.published", "loading", "the model server holds the model"),
        EventType("model.serving", "serving", "the golden prompt was answered"),
        EventType("tpu.preempted", "preempted", "the TPU was taken away; reconcile starts another attempt"),
        EventType("deployment.superseded", "superseded", "a newer manifest took this one's place"),
        EventType("deployment.failed", "failed", "the attempt ended with a reason; what costs money is gone"),
        EventType("deployment.deleting", "deleting", "the manifest was deleted or its ttl has passed; teardown runs"),
        EventType("deployment.deleted", "deleted", "nothing of the deployment is left but its logs and checkpoint"),
    )
}  # fmt: skip
"""Every event type by its short name, in the order of a deployment's life."""

STATES = (
    "unknown",
    *dict.fromkeys(row.state for row in TYPES.values() if row.state),
    "provisioning",
)
"""States of a deployment; `provisioning`: the checkpoint is committed, the TPU not yet active."""

STREAM_ENDS = frozenset({"model.serving", "manifest.rejected", "deployment.failed"}) | {
    "deployment.superseded",
    "deployment.deleted",
}
"""Types after which whoever watches one attempt may stop."""
