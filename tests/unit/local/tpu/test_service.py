"""TpuService without a wire; the wire is judged in tests/contract/local/compute."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

from saxflow.local.tpu.service import TpuService
from saxflow.local.tpu.states import State

ZONE = "projects/p/locations/us-central1-a"
OTHER = "projects/p/locations/us-central1-b/nodes/sf-a"
EVERYWHERE = tpu_v2.ListNodesRequest(parent="projects/p/locations/-")


@pytest.fixture
def service(surroundings, operations):
    service = TpuService(surroundings, operations)
    yield service
    service.stop()


@pytest.fixture
def active(service):
    """Return a function that asks for a node and returns the full name of the active request."""

    def ask(name, zone=ZONE, accelerator="v5litepod-1"):
        service.create_queued_resource(request(name, zone=zone, accelerator=accelerator))
        full = f"{zone}/queuedResources/{name}"
        assert service.wait(full, frozenset({State.ACTIVE}), 60) == State.ACTIVE
        return full

    return ask


def reading(name):
    return tpu_v2.GetQueuedResourceRequest(name=name)


def deletion(name):
    return tpu_v2.DeleteQueuedResourceRequest(name=name, force=True)


def request(name, node=None, request_id="", zone=ZONE, accelerator="v5litepod-1"):
    machine = {"accelerator_type": accelerator, "runtime_version": "v2-alpha-tpuv5-lite"}
    spec = {"parent": zone, "node_id": node or name, "node": machine}
    return tpu_v2.CreateQueuedResourceRequest(
        parent=zone,
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


def test_node_name_of_another_request_is_taken(service, active):
    active("sf-a")
    with pytest.raises(exceptions.AlreadyExists, match="nodes/sf-a"):
        service.create_queued_resource(request("sf-b", node="sf-a"))


def test_node_name_is_taken_although_the_node_is_not_there_yet(service, surroundings):
    surroundings.outcomes.arm("hold")
    service.create_queued_resource(request("sf-a"))
    with pytest.raises(exceptions.AlreadyExists, match=r"belongs to .*queuedResources/sf-a"):
        service.create_queued_resource(request("sf-b", node="sf-a"))


def test_same_node_in_two_zones_is_two_nodes(service, surroundings, active, done):
    first, _ = active("sf-a"), active("sf-a", zone=ZONE.replace("-a", "-b"))
    done(service.delete_queued_resource(deletion(first)))
    assert [node.name for node in service.list_nodes(EVERYWHERE).nodes] == [OTHER]
    assert (surroundings.data / "vms/us-central1-b/sf-a/.host/worker-0").is_dir()
    assert not (surroundings.data / "vms/us-central1-a/sf-a").exists()


def test_deletions_of_one_request_end_with_it_and_spare_its_successor(service, active, done):
    name = active("sf-a")
    asked = []
    with suppress(exceptions.NotFound):  # it may be gone before the next look
        asked.append(service.delete_queued_resource(deletion(name)))
        assert service.get_queued_resource(reading(name)).state.state == State.DELETING
        asked.append(service.delete_queued_resource(deletion(name)))
    done(asked[-1])
    active("sf-a")
    done(asked[0])
    assert service.get_queued_resource(reading(name)).state.state == State.ACTIVE


def test_deletions_of_one_node_all_end(service, active, done):
    active("sf-a", accelerator="v5litepod-16")
    asked = []
    with suppress(exceptions.NotFound):  # the node may be gone before the second is asked for
        for _ in range(2):
            asked.append(service.delete_node(tpu_v2.DeleteNodeRequest(name=f"{ZONE}/nodes/sf-a")))
    assert asked
    assert all(done(operation).WhichOneof("result") == "response" for operation in asked)
    assert service.list_nodes(EVERYWHERE).nodes == []


def test_nothing_is_created_after_the_stop(service):
    service.stop()
    with pytest.raises(exceptions.ServiceUnavailable, match="stopping"):
        service.create_queued_resource(request("sf-a"))


def test_stop_ends_every_machine(service, active):
    name = active("sf-a")
    service.stop()
    assert service.wait(name, frozenset({State.DELETING}), 0) == State.DELETING


def test_reboot_of_a_worker_that_is_not_there(service, active):
    active("sf-a")
    with pytest.raises(exceptions.NotFound, match="no worker 1"):
        service.reboot(f"{ZONE}/nodes/sf-a", 1)


def test_preempt_and_reboot_need_what_they_act_on(service):
    for act in (lambda: service.preempt("x"), lambda: service.reboot("x", 0)):
        with pytest.raises(exceptions.NotFound):
            act()
