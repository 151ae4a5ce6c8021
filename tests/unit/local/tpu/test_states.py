"""The table of QueuedResource states."""

from __future__ import annotations

from google.cloud.tpu_v2 import QueuedResourceState

from saxflow.local.tpu.states import DATA_FIELDS, DELETABLE, RESETTABLE, TRANSITIONS, State


def test_every_state_is_placed():
    assert set(TRANSITIONS) == {s for s in State if s.name != "STATE_UNSPECIFIED"}
    assert all(following <= set(TRANSITIONS) for following in TRANSITIONS.values())


def test_every_state_but_deleting_can_be_deleted():
    assert all(State.DELETING in TRANSITIONS[s] for s in TRANSITIONS if s != State.DELETING)
    assert TRANSITIONS[State.DELETING] == frozenset()


def test_states_with_machines_need_force_and_resets_lead_to_the_queue():
    assert not DELETABLE & {State.PROVISIONING, State.ACTIVE, State.SUSPENDING}
    for state in RESETTABLE - {State.ACTIVE}:
        assert State.WAITING_FOR_RESOURCES in TRANSITIONS[state]


def test_data_fields_are_members_of_the_message():
    assert set(DATA_FIELDS.values()) <= set(QueuedResourceState.meta.fields)
