"""A node: its message, and one VM per worker.

Source: google/cloud/tpu/v2/cloud_tpu.proto, Node
"""

from __future__ import annotations

import shutil
import uuid

from google.cloud.tpu_v2 import AcceleratorConfig, NetworkEndpoint, Node

from saxflow.local.messages import copied, timestamp
from saxflow.local.surroundings import Surroundings
from saxflow.local.tpu.states import NodeState
from saxflow.local.tpu.validation import slice_of
from saxflow.local.vm.launcher import AddressClaim, VirtualMachine, VmPaths
from saxflow.local.vm.metadata import tpu_leaves

DEFAULT_ACCOUNT = "default@local.iam.gserviceaccount.com"
_TPU_PORT = 8470


class NodeRun:
    """One node and its VMs.

    Args:
        name: `projects/P/locations/ZONE/nodes/ID`.
        wanted: the node as it was asked for.
        queued_resource: full name of the request it belongs to.
    """

    def __init__(
        self, name: str, wanted: Node, queued_resource: str, surroundings: Surroundings
    ) -> None:
        self.name = name
        self._around = surroundings
        self._directory = surroundings.data / "vms" / name.split("/")[3] / self.id
        self._slice = slice_of(wanted)
        self._claim = AddressClaim(self._slice.hosts)
        self._node = self._described(wanted, queued_resource)
        self.machines = [self._machine(i) for i in range(self._slice.hosts)]

    @property
    def id(self) -> str:
        """Last part of the name."""
        return self.name.rpartition("/")[2]

    def snapshot(self) -> Node:
        """Return a copy of the node's message as it is now."""
        return copied(self._node)

    def power_on(self) -> None:
        """Boot every worker."""
        for machine in self.machines:
            machine.power_on()
        self._node.state = NodeState.READY
        self._node.health = Node.Health.HEALTHY

    def set_state(self, state: NodeState) -> None:
        """Show another state to those who ask."""
        self._node.state = state

    def erase(self) -> None:
        """End every VM and remove its disk."""
        for machine in self.machines:
            machine.erase()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._claim.close()

    def _described(self, wanted: Node, queued_resource: str) -> Node:
        node = copied(wanted)
        node.name = self.name
        node.id = uuid.uuid4().int >> 65
        node.state = NodeState.CREATING
        node.create_time = timestamp(self._around.clock.now())
        node.accelerator_type = self._slice.name
        node.accelerator_config = AcceleratorConfig(
            type_=AcceleratorConfig.Type.V5LITE_POD, topology=self._slice.topology
        )
        node.api_version = Node.ApiVersion.V2
        node.queued_resource = queued_resource
        if not node.service_account.email:
            node.service_account.email = DEFAULT_ACCOUNT
        node.network_endpoints = [
            NetworkEndpoint(ip_address=address, port=_TPU_PORT) for address in self._claim.addresses
        ]
        return node

    def _machine(self, worker: int) -> VirtualMachine:
        _, project, _, zone, *_ = self.name.split("/")
        leaves = tpu_leaves(
            project=project,
            zone=zone,
            node=self.id,
            worker=worker,
            addresses=self._claim.addresses,
            accelerator_type=self._slice.name,
            service_account=self._node.service_account.email,
            attributes=dict(self._node.metadata),
            instance_id=str(uuid.uuid4().int >> 65),
        )
        return VirtualMachine(
            VmPaths(self._directory, worker),
            address=self._claim.addresses[worker],
            metadata=leaves,
            images=self._around.images,
            container_env=self._around.env,
        )
