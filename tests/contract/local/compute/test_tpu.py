"""Cloud TPU API v2 as Google's client sees it."""

from __future__ import annotations

import datetime
import os

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

ZONE = "projects/p/locations/us-central1-a"
TELL = (
    "#!/bin/bash\n(setsid sleep 600 & echo $! >$SAXFLOW_VM_ROOT/pid)\n"
    "curl -sS -X PUT -H 'Metadata-Flavor: Google' --data up"
    " http://$GCE_METADATA_HOST/computeMetadata/v1/instance/guest-attributes/sax/state\n"
)


def name(of):
    return f"{ZONE}/queuedResources/{of}"


def guest(compute, node, path="sax/", workers=()):
    request = tpu_v2.GetGuestAttributesRequest(
        name=f"{ZONE}/nodes/{node}", query_path=path, worker_ids=workers
    )
    found = compute.tpu.get_guest_attributes(request).guest_attributes
    return [[(i.namespace, i.key, i.value) for i in g.query_value.items] for g in found]


@pytest.mark.parametrize(
    ("accelerator", "hosts", "topology"),
    [("v5litepod-1", 1, "1x1"), ("v5litepod-4", 1, "2x2"), ("v5litepod-8", 1, "2x4"),
     ("v5litepod-16", 4, "4x4"), ("v5litepod-32", 8, "4x8")],
)  # fmt: skip
def test_active_node_has_one_address_per_worker(compute, accelerator, hosts, topology):
    created = compute.ask("sf-a", accelerator).result(timeout=60)
    assert created.name == name("sf-a")
    assert compute.reached("sf-a", "ACTIVE") == "ACTIVE"
    node = compute.tpu.get_node(name=f"{ZONE}/nodes/sf-a")
    assert node.state.name == "READY"
    assert node.health.name == "HEALTHY"
    addresses = [e.ip_address for e in node.network_endpoints]
    assert len(set(addresses)) == len(addresses) == hosts
    assert node.accelerator_config.topology == topology
    assert node.queued_resource == created.name
    assert dict(node.labels) == {"deployment": "tiny"}


def test_workers_run_the_startup_script_and_write_guest_attributes(compute, eventually):
    compute.ask("sf-a", "v5litepod-16", TELL)
    compute.reached("sf-a", "ACTIVE")
    eventually(lambda: guest(compute, "sf-a") == [[("sax", "state", "up")]] * 4)
    assert guest(compute, "sf-a", "sax/state", ["2"]) == [[("sax", "state", "up")]]
    with pytest.raises(exceptions.NotFound):
        guest(compute, "sf-a", "sax/", ["9"])


def test_same_id_is_409_until_it_is_gone(compute):
    compute.ask("sf-a")
    with pytest.raises(exceptions.Conflict):
        compute.ask("sf-a")
    compute.reached("sf-a", "ACTIVE")
    request = tpu_v2.DeleteQueuedResourceRequest(name=name("sf-a"), force=True)
    compute.tpu.delete_queued_resource(request).result(timeout=60)
    with pytest.raises(exceptions.NotFound):
        compute.tpu.get_queued_resource(name=name("sf-a"))
    compute.ask("sf-a")


def test_delete_without_force_spares_what_runs(compute):
    compute.ask("sf-a")
    compute.reached("sf-a", "ACTIVE")
    with pytest.raises(exceptions.GoogleAPICallError, match="use force"):
        compute.tpu.delete_queued_resource(name=name("sf-a"))


def test_waiting_request_may_be_deleted_without_force(compute):
    compute.outcomes.arm("hold", contains="sf-a")
    compute.ask("sf-a")
    assert compute.reached("sf-a", "WAITING_FOR_RESOURCES") == "WAITING_FOR_RESOURCES"
    compute.tpu.delete_queued_resource(name=name("sf-a")).result(timeout=60)
    with pytest.raises(exceptions.NotFound):
        compute.tpu.get_queued_resource(name=name("sf-a"))


def test_held_request_goes_on_when_released(compute):
    compute.outcomes.arm("hold", contains="sf-a")
    compute.ask("sf-a")
    compute.reached("sf-a", "WAITING_FOR_RESOURCES")
    compute.outcomes.release()
    assert compute.reached("sf-a", "ACTIVE") == "ACTIVE"


@pytest.mark.parametrize("by", ["duration", "time"])
def test_request_dies_when_it_is_no_longer_valid(compute, by):
    compute.outcomes.arm("hold", contains="sf-a")
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=0.3)
    policy = (
        {"valid_until_duration": datetime.timedelta(seconds=0.3)}
        if by == "duration"
        else {"valid_until_time": soon}
    )
    compute.ask("sf-a", queueing_policy=policy)
    assert compute.reached("sf-a", "FAILED") == "FAILED"
    state = compute.tpu.get_queued_resource(name=name("sf-a")).state
    assert "not fulfilled" in state.failed_data.error.message


def test_failed_request_tells_why_and_counts_until_deleted(compute):
    compute.outcomes.arm("fail", contains="sf-a", message="stockout in zone")
    compute.ask("sf-a")
    assert compute.reached("sf-a", "FAILED") == "FAILED"
    resource = compute.tpu.get_queued_resource(name=name("sf-a"))
    assert resource.state.failed_data.error.message == "stockout in zone"
    assert resource.state.state_initiator.name == "SERVICE"
    with pytest.raises(exceptions.NotFound):
        compute.tpu.get_node(name=f"{ZONE}/nodes/sf-a")
    assert [r.name for r in compute.tpu.list_queued_resources(parent=ZONE)] == [name("sf-a")]


def test_preemption_suspends_and_kills_every_process(compute, eventually):
    compute.ask("sf-a", script=TELL)
    compute.reached("sf-a", "ACTIVE")
    eventually(lambda: guest(compute, "sf-a") == [[("sax", "state", "up")]])
    pid = (compute.data / "vms/us-central1-a/sf-a/worker-0/pid").read_text().strip()
    assert os.path.exists(f"/proc/{pid}")
    compute.tpu_service.preempt(name("sf-a"))
    assert compute.reached("sf-a", "SUSPENDED") == "SUSPENDED"
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(exceptions.NotFound):
        compute.tpu.get_node(name=f"{ZONE}/nodes/sf-a")


def test_armed_preemption_strikes_after_activation(compute):
    compute.outcomes.arm("preempt", contains="sf-a", after_seconds=0.1)
    compute.ask("sf-a")
    assert compute.reached("sf-a", "SUSPENDED") == "SUSPENDED"


def test_suspended_request_can_be_reset(compute):
    compute.ask("sf-a")
    compute.reached("sf-a", "ACTIVE")
    compute.tpu_service.preempt(name("sf-a"))
    compute.tpu.reset_queued_resource(name=name("sf-a")).result(timeout=60)
    assert compute.reached("sf-a", "ACTIVE") == "ACTIVE"


def test_deleting_the_node_suspends_its_request(compute):
    compute.ask("sf-a")
    compute.reached("sf-a", "ACTIVE")
    compute.tpu.delete_node(name=f"{ZONE}/nodes/sf-a").result(timeout=60)
    assert compute.reached("sf-a", "SUSPENDED") == "SUSPENDED"
    compute.tpu.delete_queued_resource(name=name("sf-a")).result(timeout=60)


def test_quota_is_429_and_names_the_quota(compute):
    compute.outcomes.arm("quota")
    with pytest.raises(exceptions.TooManyRequests, match="TPUV5sLitepodServing"):
        compute.ask("sf-a")
    compute.ask("sf-a")


def test_rebooted_worker_keeps_its_disk_and_gets_a_new_boot_id(compute, eventually):
    text = "#!/bin/bash\ncat $SAXFLOW_VM_ROOT/proc/sys/kernel/random/boot_id >>$SAXFLOW_VM_ROOT/b\n"
    compute.ask("sf-a", script=text)
    compute.reached("sf-a", "ACTIVE")
    boots = compute.data / "vms/us-central1-a/sf-a/worker-0/b"
    eventually(lambda: boots.exists() and len(boots.read_text().split()) == 1)
    compute.tpu_service.reboot(f"{ZONE}/nodes/sf-a", 0)
    eventually(lambda: len(set(boots.read_text().split())) == 2)


def test_two_nodes_never_share_an_address(compute):
    compute.ask("sf-a", "v5litepod-16")
    compute.ask("sf-b", "v5litepod-16")
    compute.reached("sf-a", "ACTIVE")
    compute.reached("sf-b", "ACTIVE")
    nodes = list(compute.tpu.list_nodes(parent="projects/p/locations/-"))
    addresses = [e.ip_address for n in nodes for e in n.network_endpoints]
    assert len(set(addresses)) == 8


def test_offers(compute):
    types = [t.type_ for t in compute.tpu.list_accelerator_types(parent=ZONE)]
    assert types[:3] == ["v5litepod-1", "v5litepod-4", "v5litepod-8"]
    one = compute.tpu.get_accelerator_type(name=f"{ZONE}/acceleratorTypes/v5litepod-8")
    assert one.accelerator_configs[0].topology == "2x4"
    versions = [v.version for v in compute.tpu.list_runtime_versions(parent=ZONE)]
    assert "v2-alpha-tpuv5-lite" in versions
    found = compute.tpu.get_runtime_version(name=f"{ZONE}/runtimeVersions/{versions[0]}")
    assert found.version == versions[0]
    for call, missing in (
        (compute.tpu.get_accelerator_type, "acceleratorTypes/v9"),
        (compute.tpu.get_runtime_version, "runtimeVersions/v9"),
    ):
        with pytest.raises(exceptions.NotFound):
            call(name=f"{ZONE}/{missing}")


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ({"accelerator_type": "v9", "runtime_version": "v2-alpha-tpuv5-lite"}, "accelerator_type"),
        ({"accelerator_type": "v5litepod-4", "runtime_version": "?"}, "runtime_version"),
        ({"accelerator_type": "v5litepod-4", "runtime_version": "v2-alpha-tpuv5-lite",
          "metadata": {"startup-script": "x" * 300_000}}, "metadata"),
        ({"accelerator_config": {"type_": "V5LITE_POD", "topology": "3x3"},
          "runtime_version": "v2-alpha-tpuv5-lite"}, "accelerator_config"),
    ],
)  # fmt: skip
def test_bad_nodes_are_refused_by_field(compute, node, problem):
    spec = {"parent": ZONE, "node_id": "sf-a", "node": node}
    with pytest.raises(exceptions.BadRequest, match=problem):
        compute.tpu.create_queued_resource(
            parent=ZONE, queued_resource_id="sf-a", queued_resource={"tpu": {"node_spec": [spec]}}
        )


def test_reset_of_a_waiting_request_is_refused(compute):
    compute.outcomes.arm("hold")
    compute.ask("sf-a")
    compute.reached("sf-a", "WAITING_FOR_RESOURCES")
    with pytest.raises(exceptions.GoogleAPICallError, match="WAITING_FOR_RESOURCES"):
        compute.tpu.reset_queued_resource(name=name("sf-a"))
