"""Functions of the standard library without a workflow around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.workflows import WorkflowFailure
from saxflow.local.workflows.stdlib import FUNCTIONS


@pytest.fixture
def call() -> Callable[..., Any]:
    """Call a function by its dotted name."""
    return lambda name, *arguments: FUNCTIONS[name].apply(*arguments)


@pytest.fixture
def refusal(call: Callable[..., Any]) -> Callable[..., str]:
    """Return the message of the error that a call must end in; it begins with the error's tag."""

    def refused(name: str, *arguments: Any) -> str:
        with pytest.raises(WorkflowFailure) as caught:
            call(name, *arguments)
        payload = caught.value.payload
        assert payload["message"].startswith(f"{payload['tags'][0]}: ")
        return payload["message"]

    return refused
