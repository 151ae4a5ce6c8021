"""Power on, reset, delete."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from saxflow.local.images import ImageRegistry
from saxflow.local.vm.launcher import AddressClaim, VirtualMachine, VmPaths

SCRIPT = """#!/bin/bash
date +%s.%N >>$SAXFLOW_VM_ROOT/boots
docker run -d --name cc --restart always sleeper
echo $BASHPID $(docker inspect -f '{{.State.Running}}' cc) >>$SAXFLOW_VM_ROOT/done
exec sleep 600
"""


@pytest.fixture
def vm(tmp_path):
    claim = AddressClaim(1)
    ImageRegistry({"sleeper": ["sleep", "600"]}).save(tmp_path / "images.json")
    machine = VirtualMachine(
        VmPaths(tmp_path / "vms/n", 0),
        address=claim.addresses[0],
        metadata={"instance/attributes/startup-script": SCRIPT},
        images=tmp_path / "images.json",
        container_env={"PATH": os.environ["PATH"]},
    )
    yield machine
    machine.power_off()
    claim.close()


@pytest.fixture
def lines(eventually):
    """Wait until a file has so many lines and return them."""

    def wait(file, count):
        eventually(lambda: file.exists() and len(file.read_text().splitlines()) >= count)
        return file.read_text().splitlines()

    return wait


def test_script_runs_after_power_on(vm, lines):
    vm.power_on()
    lines(vm.paths.root / "boots", 1)
    assert vm.running


def test_power_off_ends_script_and_containers(vm, lines):
    vm.power_on()
    pid, running = lines(vm.paths.root / "done", 1)[0].split()
    assert running == "true"
    vm.power_off()
    assert not vm.running
    assert not os.path.exists(f"/proc/{pid}")


def test_reset_keeps_the_disk_and_runs_the_script_again(vm, lines):
    vm.power_on()
    lines(vm.paths.root / "done", 1)
    vm.reset()
    assert len(lines(vm.paths.root / "boots", 2)) == 2


def test_erase_removes_the_disk(vm, lines):
    vm.power_on()
    lines(vm.paths.root / "done", 1)
    vm.erase()
    assert not vm.paths.root.exists()
    assert not vm.paths.host.exists()


def test_what_was_erased_does_not_come_back(vm, lines):
    vm.power_on()
    lines(vm.paths.root / "done", 1)
    with ThreadPoolExecutor(4) as pool:
        for act in (vm.reset, vm.erase, vm.reset, vm.power_on):
            pool.submit(act)
    vm.erase()
    vm.reset()
    assert not vm.running
    assert not vm.paths.host.exists()


def test_guest_attributes_are_read_from_the_hosts_side(vm):
    directory = vm.paths.host / "guest-attributes/sax"
    directory.mkdir(parents=True)
    (directory / "state").write_text("ready")
    (directory / ".state").write_text("half written")
    assert vm.guest_attributes([]) == [("sax", "state", "ready")]
    assert vm.guest_attributes(["sax", "state"]) == [("sax", "state", "ready")]
    assert vm.guest_attributes(["other"]) == []


def test_guest_attributes_that_go_meanwhile_are_left_out(vm):
    directory = vm.paths.host / "guest-attributes/sax"
    directory.mkdir(parents=True)
    (directory / "gone").symlink_to("nowhere")  # listed, and no more there when it is read
    (directory / "state").write_text("ready")
    assert vm.guest_attributes(["sax"]) == [("sax", "state", "ready")]


def test_claims_never_overlap_and_can_be_given_back():
    first, second = AddressClaim(2), AddressClaim(2)
    assert not set(first.addresses) & set(second.addresses)
    given_back = first.addresses
    first.close()
    third = AddressClaim(2)
    assert third.addresses == given_back
    second.close()
    third.close()
