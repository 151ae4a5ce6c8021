"""What the TPU API refuses before a QueuedResource exists.

Source: google/cloud/tpu/v2/cloud_tpu.proto
"""

from __future__ import annotations

from datetime import datetime

from google.api_core import exceptions
from google.cloud.tpu_v2 import AcceleratorConfig, CreateQueuedResourceRequest, Node, QueuedResource

from saxflow.local.messages import seconds
from saxflow.local.tpu.hardware import BY_TOPOLOGY, ID, PARENT, RUNTIME_VERSIONS, SLICES, Slice

LARGEST_METADATA_VALUE = 256 * 1024
LARGEST_METADATA = 512 * 1024


def check_request(request: CreateQueuedResourceRequest) -> None:
    """Refuse what the service refuses.

    Raises:
        InvalidArgument: names the field and the value.
    """
    if not PARENT.fullmatch(request.parent):
        raise invalid("parent", f"{request.parent!r} is not projects/P/locations/ZONE")
    if not ID.fullmatch(request.queued_resource_id):
        raise invalid(
            "queued_resource_id", f"{request.queued_resource_id!r} must match {ID.pattern}"
        )
    specs = request.queued_resource.tpu.node_spec
    if len(specs) != 1:
        raise invalid(
            "tpu.node_spec", f"{len(specs)} entries; the embedded cloud takes exactly one"
        )
    if specs[0].parent != request.parent:
        raise invalid("tpu.node_spec.parent", f"{specs[0].parent!r} is not {request.parent!r}")
    if not ID.fullmatch(specs[0].node_id):
        raise invalid("tpu.node_spec.node_id", f"{specs[0].node_id!r} must match {ID.pattern}")
    _check_policy(request.queued_resource)
    check_node(specs[0].node)


def check_node(node: Node) -> None:
    """Refuse a node that cannot be made.

    Raises:
        InvalidArgument: names the field and the value.
    """
    slice_of(node)
    if node.runtime_version not in RUNTIME_VERSIONS:
        known = ", ".join(RUNTIME_VERSIONS)
        raise invalid("node.runtime_version", f"{node.runtime_version!r} is not one of {known}")
    sizes = {key: len(value.encode()) for key, value in node.metadata.items()}
    for key, size in sizes.items():
        if size > LARGEST_METADATA_VALUE:
            raise invalid("node.metadata", f"{key!r} has {size} bytes; a value may have 256 KiB")
    total = sum(sizes.values())
    if total > LARGEST_METADATA:
        raise invalid("node.metadata", f"{total} bytes in all; there may be 512 KiB")


def slice_of(node: Node) -> Slice:
    """Return the hardware a node asks for, by accelerator type or by topology.

    Raises:
        InvalidArgument: there is no such hardware.
    """
    config = node.accelerator_config
    if config.topology:
        found = BY_TOPOLOGY.get(config.topology)
        if found is None or config.type_ != AcceleratorConfig.Type.V5LITE_POD:
            raise invalid("node.accelerator_config", f"no v5e slice of {config.topology!r}")
        return found
    if node.accelerator_type not in SLICES:
        known = ", ".join(SLICES)
        raise invalid("node.accelerator_type", f"{node.accelerator_type!r} is not one of {known}")
    return SLICES[node.accelerator_type]


def valid_seconds(resource: QueuedResource, now: datetime) -> float | None:
    """Return how long a request may wait for resources, None for ever."""
    chosen = _timing(resource)
    if chosen is None:
        return None
    limit: object = getattr(resource.queueing_policy, chosen)
    if isinstance(limit, datetime):
        return max((limit - now).total_seconds(), 0.0)
    return seconds(limit)


def invalid(field: str, problem: str) -> exceptions.InvalidArgument:
    """Return the error for a bad field."""
    return exceptions.InvalidArgument(f"Invalid value for {field}: {problem}")


def _timing(resource: QueuedResource) -> str | None:
    policy = QueuedResource.QueueingPolicy.pb(resource.queueing_policy)
    return policy.WhichOneof("start_timing_constraints")


def _check_policy(resource: QueuedResource) -> None:
    if _timing(resource) not in (None, "valid_until_duration", "valid_until_time"):
        raise invalid(
            "queueing_policy", "the embedded cloud knows validUntilDuration and validUntilTime only"
        )
