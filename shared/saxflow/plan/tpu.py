"""The QueuedResources, one body a zone, and the metadata that a TPU VM starts from.

Source: Cloud TPU API v2, projects.locations.queuedResources.
"""

from __future__ import annotations

from typing import Any

from saxflow.catalog import Slice
from saxflow.manifest import Manifest
from saxflow.settings import Settings

NETWORK_TAG = "saxflow-cell"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def zone_path(project: str, zone: str) -> str:
    """Return a zone's resource name, the parent of its QueuedResources."""
    return f"projects/{project}/locations/{zone}"


def queued_resource_body(
    manifest: Manifest,
    settings: Settings,
    *,
    identifier: str,
    zone: str,
    chosen: Slice,
    wait_seconds: float,
    metadata: dict[str, str],
    labels: dict[str, str],
) -> dict[str, Any]:
    """Return the REST body of the QueuedResource in one zone.

    Args:
        identifier: of the QueuedResource and of its Node.
        wait_seconds: the service gives up by itself after so long in the queue.
    """
    parent = zone_path(settings.project, zone)
    node = {
        "acceleratorType": chosen.accelerator_type,
        "runtimeVersion": manifest.tpu.runtime_version,
        "description": f"saxflow deployment {manifest.name}",
        "networkConfig": _network(settings),
        "serviceAccount": _account(settings),
        "metadata": metadata,
        "labels": labels,
        "tags": [NETWORK_TAG],
    }
    body: dict[str, Any] = {
        "tpu": {"nodeSpec": [{"parent": parent, "nodeId": identifier, "node": node}]},
        "queueingPolicy": {"validUntilDuration": f"{max(1, round(wait_seconds))}s"},
    }
    return body | _tier(manifest, parent, node)


def _tier(manifest: Manifest, parent: str, node: dict[str, Any]) -> dict[str, Any]:
    if manifest.tpu.provisioning == "spot":
        return {"spot": {}}
    if manifest.tpu.provisioning == "reserved":
        node["schedulingConfig"] = {"reserved": True}
        reservation = f"{parent}/reservations/{manifest.tpu.reservation}"
        return {"guaranteed": {}, "reservationName": reservation}
    return {}


def _network(settings: Settings) -> dict[str, Any]:
    names = {"network": settings.network, "subnetwork": settings.subnetwork}
    return {key: value for key, value in names.items() if value} | {"enableExternalIps": False}


def _account(settings: Settings) -> dict[str, Any]:
    email = {"email": settings.tpu_account} if settings.tpu_account else {}
    return email | {"scope": [_SCOPE]}
