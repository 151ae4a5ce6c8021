"""The states of QueuedResources and nodes, and which may follow which.

Source: google/cloud/tpu/v2/cloud_tpu.proto; https://cloud.google.com/tpu/docs/queued-resources
"""

from __future__ import annotations

from google.cloud.tpu_v2 import Node, QueuedResourceState

State = QueuedResourceState.State
NodeState = Node.State

TRANSITIONS: dict[State, frozenset[State]] = {
    State.CREATING: frozenset({State.ACCEPTED, State.FAILED, State.DELETING}),
    State.ACCEPTED: frozenset({State.WAITING_FOR_RESOURCES, State.FAILED, State.DELETING}),
    State.WAITING_FOR_RESOURCES: frozenset({State.PROVISIONING, State.FAILED, State.DELETING}),
    State.PROVISIONING: frozenset(
        {State.ACTIVE, State.WAITING_FOR_RESOURCES, State.FAILED, State.DELETING}
    ),
    State.ACTIVE: frozenset({State.SUSPENDING, State.DELETING}),
    State.SUSPENDING: frozenset({State.SUSPENDED, State.DELETING}),
    State.SUSPENDED: frozenset({State.WAITING_FOR_RESOURCES, State.DELETING}),
    State.FAILED: frozenset({State.WAITING_FOR_RESOURCES, State.DELETING}),
    State.DELETING: frozenset(),
}

DELETABLE = frozenset(
    {State.ACCEPTED, State.WAITING_FOR_RESOURCES, State.FAILED, State.SUSPENDED, State.DELETING}
)
"""States in which a delete without `force` is allowed."""

RESETTABLE = frozenset({State.SUSPENDED, State.FAILED, State.ACTIVE})
"""States in which a reset is allowed; an ACTIVE one is suspended first."""

DATA_FIELDS: dict[State, str] = {
    State.CREATING: "creating_data",
    State.ACCEPTED: "accepted_data",
    State.PROVISIONING: "provisioning_data",
    State.FAILED: "failed_data",
    State.DELETING: "deleting_data",
    State.ACTIVE: "active_data",
    State.SUSPENDING: "suspending_data",
    State.SUSPENDED: "suspended_data",
}
"""State -> the member of the oneof that goes with it; WAITING_FOR_RESOURCES has none."""
