"""The table is the one place where states come from."""

from saxflow.events import STATES, STREAM_ENDS, TYPES


def test_every_state_and_end_is_in_the_table() -> None:
    assert set(TYPES) >= STREAM_ENDS
    assert {row.state for row in TYPES.values()} - {""} <= set(STATES)


def test_stages_are_the_first_part_of_the_name() -> None:
    assert TYPES["model.serving"].stage == "model"
    assert all(name == row.name for name, row in TYPES.items())
