"""A node and its VMs."""

from __future__ import annotations

import pytest
from google.cloud.tpu_v2 import Node

from saxflow.local.tpu.nodes import DEFAULT_ACCOUNT, NodeRun
from saxflow.local.tpu.states import NodeState

NAME = "projects/p/locations/us-central1-a/nodes/sf-a"


@pytest.fixture
def node(surroundings):
    wanted = Node(accelerator_type="v5litepod-16", runtime_version="v2-alpha-tpuv5-lite")
    node = NodeRun(NAME, wanted, "qr", surroundings)
    yield node
    node.erase()


def test_node_is_described_before_it_runs(node):
    message = node.snapshot()
    assert message.state == NodeState.CREATING
    assert message.service_account.email == DEFAULT_ACCOUNT
    assert message.queued_resource == "qr"
    assert len(message.network_endpoints) == len(node.machines) == 4


def test_power_on_boots_every_worker_and_erase_leaves_nothing(node, surroundings):
    node.power_on()
    assert node.snapshot().state == NodeState.READY
    assert all(machine.running for machine in node.machines)
    node.erase()
    assert not any(machine.running for machine in node.machines)
    assert not (surroundings.data / "vms/us-central1-a/sf-a").exists()


def test_state_can_be_shown(node):
    node.set_state(NodeState.PREEMPTED)
    assert node.snapshot().state == NodeState.PREEMPTED
