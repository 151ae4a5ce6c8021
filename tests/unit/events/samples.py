"""Events of one deployment, built by name, and any of them at random."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from saxflow import events
from saxflow.events import TYPES, Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    name: str,
    second: float = 0,
    *,
    generation: str = "7",
    attempt: int = 1,
    number: int | None = None,
    **details: Any,
) -> Event:
    return events.build(
        name,
        project="p",
        deployment="tiny",
        generation=generation,
        attempt=attempt,
        message=f"{name} happened",
        now=START + timedelta(seconds=second),
        number=number,
        **details,
    )


random_events = st.builds(
    event,
    st.sampled_from(list(TYPES)),
    st.integers(0, 5),
    generation=st.sampled_from(["7", "8", "10"]),
    attempt=st.integers(1, 2),
    number=st.none() | st.integers(0, 3),
)
