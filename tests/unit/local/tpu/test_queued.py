"""A QueuedResource on its way, in virtual time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import pytest
from google.cloud.tpu_v2 import QueuedResource

from saxflow.local.clock import VirtualClock
from saxflow.local.tpu.queued import QueuedRun
from saxflow.local.tpu.states import State

ZONE = "projects/p/locations/us-central1-a"


@pytest.fixture
def ask(surroundings):
    """Return a function that makes a request which may wait for six hours of virtual time."""
    clock = VirtualClock()
    runs = []

    def make(accelerator="v5litepod-1"):
        node = {"accelerator_type": accelerator, "runtime_version": "v2-alpha-tpuv5-lite"}
        resource = QueuedResource(
            name=f"{ZONE}/queuedResources/sf-a",
            tpu={"node_spec": [{"parent": ZONE, "node_id": "sf-a", "node": node}]},
            queueing_policy={"valid_until_duration": {"seconds": 6 * 3600}},
        )
        runs.append(QueuedRun(resource, replace(surroundings, clock=clock)))
        return runs[-1], clock, surroundings.outcomes

    yield make
    for run in runs:
        run.delete()


@pytest.fixture
def queued(ask):
    return ask()


def test_deleted_before_it_was_accepted_it_never_runs(queued):
    run, _, _ = queued
    run.delete()
    run.accept()
    assert run.state == State.DELETING
    assert run.node is None


@pytest.mark.parametrize("end", ["delete", "suspend"])
def test_who_ends_it_second_waits_for_the_first(ask, end):
    run, _, _ = ask("v5litepod-16")
    run.accept()
    run.wait(frozenset({State.ACTIVE}), 60)
    machines = run.node.machines
    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(getattr(run, end)) for _ in range(4)]
        for done in as_completed(ends):
            done.result()
            assert not any(machine.running for machine in machines)
            assert run.state in (State.SUSPENDED, State.DELETING)


def test_request_that_expires_while_it_is_released_ends_in_one_way(queued):
    run, clock, outcomes = queued
    for _ in range(5):
        outcomes.arm("hold")
        run.accept() if run.state == State.CREATING else run.reset()
        run.wait(frozenset({State.WAITING_FOR_RESOURCES}), 60)
        with ThreadPoolExecutor(2) as pool:
            pool.submit(clock.advance, 7 * 3600)
            pool.submit(outcomes.release)
        ended = run.wait(frozenset({State.ACTIVE, State.FAILED}), 60)
        assert (run.node is not None) == (ended == State.ACTIVE)


def test_six_hours_in_the_queue_are_over_in_an_instant(queued):
    run, clock, outcomes = queued
    outcomes.arm("hold")
    run.accept()
    assert run.wait(frozenset({State.WAITING_FOR_RESOURCES}), 60) == State.WAITING_FOR_RESOURCES
    while run.state != State.FAILED:
        clock.advance(3600)
        run.wait(frozenset({State.FAILED}), 0.05)
    assert "not fulfilled" in run.snapshot().state.failed_data.error.message


def test_node_is_there_while_active_only(queued):
    run, _, _ = queued
    assert run.node is None
    run.accept()
    assert run.wait(frozenset({State.ACTIVE}), 60) == State.ACTIVE
    assert run.node is not None
    assert run.suspend()
    assert run.state == State.SUSPENDED
    assert run.node is None
    assert not run.suspend()


def test_only_force_ends_what_has_machines(queued):
    run, _, _ = queued
    run.accept()
    run.wait(frozenset({State.ACTIVE}), 60)
    assert run.node.name == run.node_name == f"{ZONE}/nodes/sf-a"
    assert not run.begin_deletion(force=False)
    assert run.state == State.ACTIVE
    assert run.begin_deletion(force=True)
    assert run.begin_deletion(force=False), "it is on its way already"
    assert run.state == State.DELETING


def test_reset_queues_again(queued):
    run, _, _ = queued
    run.accept()
    run.wait(frozenset({State.ACTIVE}), 60)
    run.reset()
    assert run.wait(frozenset({State.ACTIVE}), 60) == State.ACTIVE


def test_delete_while_waiting_ends_the_wait(queued):
    run, _, outcomes = queued
    outcomes.arm("hold")
    run.accept()
    run.wait(frozenset({State.WAITING_FOR_RESOURCES}), 60)
    run.delete()
    assert run.state == State.DELETING
    assert run.snapshot().state.state_initiator.name == "USER"
