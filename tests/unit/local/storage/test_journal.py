from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saxflow.local.storage.journal import Journal
from saxflow.local.storage.resources import ObjectRecord


def record(name: str, generation: int) -> ObjectRecord:
    return ObjectRecord("b", name, generation, 1, f"f{generation}", 0, "c", "m", "t", "t")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20),
    torn=st.integers(0, 60),
)
def test_a_journal_tells_the_last_state(
    tmp_path: Path, steps: list[tuple[str, bool]], torn: int
) -> None:
    path = tmp_path / "journal.jsonl"
    path.unlink(missing_ok=True)
    journal = Journal(path)
    expected: dict[str, ObjectRecord] = {}
    for generation, (name, put) in enumerate(steps):
        if put:
            expected[name] = record(name, generation)
            journal.put(expected[name])
        elif expected.pop(name, None):
            journal.delete(name)
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"put": {"bucket": "b", "name": "torn", "generation": 99'[:torn])
    assert Journal(path).load() == expected
    assert Journal(path).load() == expected, "loading compacts and changes nothing"


def test_a_line_that_found_no_room_leaves_no_trace(
    tmp_path: Path, room: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.put(record("a", 1))
    written = path.stat().st_size
    for spare in (0, 20):
        with room(written + spare), pytest.raises(OSError, match=r"(?i)space|large"):
            journal.put(record("b", 2))
        assert path.stat().st_size == written
    journal.put(record("c", 3))
    journal.close()
    assert Journal(path).load() == {"a": record("a", 1), "c": record("c", 3)}
