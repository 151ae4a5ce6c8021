"""A QueuedResource on its way, in virtual time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.cloud.tpu_v2 import QueuedResource

from saxflow.local.clock import VirtualClock
from saxflow.local.tpu.queued import QueuedRun
from saxflow.local.tpu.states import State

ZONE = "projects/p/locations/us-central1-a"


@pytest.fixture
def queued(surroundings):
    clock = VirtualClock()
    node = {"accelerator_type": "v5litepod-1", "runtime_version": "v2-alpha-tpuv5-lite"}
    resource = QueuedResource(
        name=f"{ZONE}/queuedResources/sf-a",
        tpu={"node_spec": [{"parent": ZONE, "node_id": "sf-a", "node": node}]},
        queueing_policy={"valid_until_duration": {"seconds": 6 * 3600}},
    )
    run = QueuedRun(resource, replace(surroundings, clock=clock))
    yield run, clock, surroundings.outcomes
    run.delete()


def test_six_hours_in_the_queue_are_over_in_an_instant(queued):
    run, clock, outcomes = queued
    outcomes.arm("hold")
    run.accept()
    assert run.wait(frozenset({State.WAITING_FOR_RESOURCES}), 5) == State.WAITING_FOR_RESOURCES
    while run.state != State.FAILED:
        clock.advance(3600)
        run.wait(frozenset({State.FAILED}), 0.05)
    assert "not fulfilled" in run.snapshot().state.failed_data.error.message


def test_node_is_there_while_active_only(queued):
    run, _, _ = queued
    assert run.node is None
    run.accept()
    assert run.wait(frozenset({State.ACTIVE}), 10) == State.ACTIVE
    assert run.node is not None
    assert run.suspend()
    assert run.state == State.SUSPENDED
    assert run.node is None
    assert not run.suspend()


def test_reset_queues_again(queued):
    run, _, _ = queued
    run.accept()
    run.wait(frozenset({State.ACTIVE}), 10)
    run.reset()
    assert run.wait(frozenset({State.ACTIVE}), 10) == State.ACTIVE


def test_delete_while_waiting_ends_the_wait(queued):
    run, _, outcomes = queued
    outcomes.arm("hold")
    run.accept()
    run.wait(frozenset({State.WAITING_FOR_RESOURCES}), 5)
    run.delete()
    assert run.state == State.DELETING
    assert run.snapshot().state.state_initiator.name == "USER"
