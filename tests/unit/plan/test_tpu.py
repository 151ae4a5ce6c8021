"""QueuedResources are what the TPU API takes, in each way of provisioning."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.cloud import tpu_v2
from google.protobuf import json_format

from saxflow.catalog import SLICES
from saxflow.manifest import Manifest
from saxflow.plan.tpu import queued_resource_body, zone_path
from saxflow.settings import Settings


def typed(manifest: Manifest, settings: Settings) -> tpu_v2.QueuedResource:
    body = queued_resource_body(
        manifest,
        settings,
        identifier="sf-a-1-a1",
        zone="us-central1-a",
        chosen=SLICES["v5litepod-8"],
        wait_seconds=21600,
        metadata={"startup-script": "#!/bin/bash"},
        labels={"deployment": "a"},
    )
    message = tpu_v2.QueuedResource.pb(tpu_v2.QueuedResource())
    json_format.ParseDict(body, message)
    return tpu_v2.QueuedResource.wrap(message)


@pytest.fixture
def resource_of(
    manifest_of: Callable[..., Manifest], settings: Settings
) -> Callable[..., tpu_v2.QueuedResource]:
    def build(**tpu: Any) -> tpu_v2.QueuedResource:
        return typed(manifest_of(tpu=tpu), settings)

    return build


def test_on_demand(resource_of: Callable[..., tpu_v2.QueuedResource]) -> None:
    found = resource_of()
    (spec,) = found.tpu.node_spec
    assert spec.parent == zone_path("proj", "us-central1-a")
    assert spec.node_id == "sf-a-1-a1"
    node = spec.node
    assert node.accelerator_type == "v5litepod-8"
    assert node.runtime_version == "v2-alpha-tpuv5-lite"
    assert not node.network_config.enable_external_ips
    assert node.network_config.network.endswith("networks/sax")
    assert list(node.service_account.scope) == ["https://www.googleapis.com/auth/cloud-platform"]
    assert node.metadata == {"startup-script": "#!/bin/bash"}
    assert node.labels == {"deployment": "a"}
    assert found.queueing_policy.valid_until_duration.total_seconds() == 21600
    assert "spot" not in found
    assert "guaranteed" not in found


def test_spot(resource_of: Callable[..., tpu_v2.QueuedResource]) -> None:
    assert "spot" in resource_of(provisioning="spot")


def test_reserved(resource_of: Callable[..., tpu_v2.QueuedResource]) -> None:
    found = resource_of(provisioning="reserved", reservation="mine")
    assert "guaranteed" in found
    assert found.reservation_name == "projects/proj/locations/us-central1-a/reservations/mine"
    assert found.tpu.node_spec[0].node.scheduling_config.reserved


def test_defaults_of_the_project(manifest_of: Callable[..., Manifest], settings: Settings) -> None:
    bare = replace(settings, network="", subnetwork="", tpu_account="")
    node = typed(manifest_of(), bare).tpu.node_spec[0].node
    assert (node.network_config.network, node.service_account.email) == ("", "")
