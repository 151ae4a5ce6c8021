"""What the TPU API refuses before a QueuedResource exists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.api_core import exceptions
from google.cloud.tpu_v2 import CreateQueuedResourceRequest, Node, QueuedResource

from saxflow.local.tpu.validation import check_node, check_request, slice_of, valid_seconds

ZONE = "projects/p/locations/us-central1-a"
NODE = {"accelerator_type": "v5litepod-4", "runtime_version": "v2-alpha-tpuv5-lite"}
SPEC = {"parent": ZONE, "node_id": "a", "node": NODE}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request(specs=(SPEC,), policy=None, **changes):
    resource = {
        "tpu": {"node_spec": list(specs)},
        **({"queueing_policy": policy} if policy else {}),
    }
    fields = {"parent": ZONE, "queued_resource_id": "a", "queued_resource": resource}
    return CreateQueuedResourceRequest({**fields, **changes})


def test_good_request_passes():
    check_request(request())


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (request(parent="projects/p/locations/us-central1"), "parent"),
        (request(queued_resource_id="A"), "queued_resource_id"),
        (request(specs=()), "exactly one"),
        (request(specs=(SPEC, SPEC)), "exactly one"),
        (request(specs=({**SPEC, "parent": ZONE[:-1] + "b"},)), "node_spec.parent"),
        (request(specs=({**SPEC, "node_id": ""},)), "node_id"),
        (request(policy={"valid_after_duration": {"seconds": 5}}), "queueing_policy"),
    ],
)
def test_bad_request_is_refused_by_field(bad, problem):
    with pytest.raises(exceptions.InvalidArgument, match=problem):
        check_request(bad)


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"a": "x", "b": "x" * 262_145}, "'b' has 262145 bytes.* 256 KiB"),
        (dict.fromkeys("abc", "x" * 200_000), "600000 bytes.* 512 KiB"),
    ],
)
def test_metadata_has_limits_for_one_value_and_for_all(metadata, problem):
    check_node(Node(NODE | {"metadata": {"a": "x" * 262_144}}))
    with pytest.raises(exceptions.InvalidArgument, match=problem):
        check_node(Node(NODE | {"metadata": metadata}))


def test_hardware_by_type_or_by_topology():
    config = {"type_": "V5LITE_POD", "topology": "2x4"}
    assert slice_of(Node(accelerator_config=config)).name == "v5litepod-8"
    assert slice_of(Node(accelerator_type="v5litepod-16")).hosts == 4


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, None),
        ({"valid_until_duration": timedelta(hours=6)}, 21600.0),
        ({"valid_until_time": NOW + timedelta(seconds=30)}, 30.0),
        ({"valid_until_time": NOW - timedelta(seconds=30)}, 0.0),
    ],
)
def test_validity_by_duration_or_time(policy, expected):
    assert valid_seconds(QueuedResource(queueing_policy=policy), NOW) == expected
