"""TpuService without a wire; the wire is judged in tests/contract/local/compute."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

from saxflow.local.rpc.operations import Operations
from saxflow.local.tpu.service import TpuService
from saxflow.local.tpu.states import State

ZONE = "projects/p/locations/us-central1-a"


@pytest.fixture
def service(surroundings):
    service = TpuService(surroundings, Operations())
    yield service
    service.stop()


def request(name, node=None, request_id=""):
    machine = {"accelerator_type": "v5litepod-1", "runtime_version": "v2-alpha-tpuv5-lite"}
    spec = {"parent": ZONE, "node_id": node or name, "node": machine}
    return tpu_v2.CreateQueuedResourceRequest(
        parent=ZONE,
        queued_resource_id=name,
        queued_resource={"tpu": {"node_spec": [spec]}},
        request_id=request_id,
    )


def test_create_is_accepted_at_once_and_told_by_its_operation(service):
    operation = service.create_queued_resource(request("sf-a"))
    resource = tpu_v2.QueuedResource()
    assert operation.done
    assert operation.response.Unpack(tpu_v2.QueuedResource.pb(resource))
    assert resource.name == f"{ZONE}/queuedResources/sf-a"


def test_node_name_of_another_request_is_taken(service):
    service.create_queued_resource(request("sf-a"))
    service.wait(f"{ZONE}/queuedResources/sf-a", frozenset({State.ACTIVE}), 10)
    with pytest.raises(exceptions.AlreadyExists, match="nodes/sf-a"):
        service.create_queued_resource(request("sf-b", node="sf-a"))


def test_stop_ends_every_machine(service):
    service.create_queued_resource(request("sf-a"))
    name = f"{ZONE}/queuedResources/sf-a"
    service.wait(name, frozenset({State.ACTIVE}), 10)
    service.stop()
    assert service.wait(name, frozenset({State.DELETING}), 0) == State.DELETING


def test_preempt_and_reboot_need_what_they_act_on(service):
    for act in (lambda: service.preempt("x"), lambda: service.reboot("x", 0)):
        with pytest.raises(exceptions.NotFound):
            act()
