"""`for`: over a list or an inclusive range, every iteration in a block of variables of its own.

Source: https://cloud.google.com/workflows/docs/reference/syntax/iteration
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from saxflow.local.workflows.failures import Value, resource_limit, type_error
from saxflow.local.workflows.flow import BREAK, CONTINUE, Flow, Frame
from saxflow.local.workflows.stdlib.signature import expect, expect_number
from saxflow.local.workflows.steps import For, render

RANGE_LIMIT = 100_000
"""As many numbers as an Execution may take steps."""


def run_for(body: For, frame: Frame) -> Flow:
    """Run a `for` step; what it returns leads out of it."""
    for index, item in enumerate(iterations(body, frame)):
        flow = run_iteration(body, frame, index, item)
        if flow is BREAK:
            break
        if flow is not None and flow is not CONTINUE:
            return flow
    return None


def run_iteration(body: For, frame: Frame, index: int, item: Value) -> Flow:
    """Run the steps of a loop once."""
    with frame.block() as scope:
        scope.declare(body.value, item)
        if body.index is not None:
            scope.declare(body.index, index)
        return frame.run_steps(body.steps)


def iterations(body: For, frame: Frame) -> Sequence[Value]:
    """Return what a loop runs over.

    Raises:
        WorkflowFailure: TypeError, neither a list nor two numbers; ResourceLimitError, a range of
            more than 100,000 numbers.
    """
    if body.items is not None:
        items = render(body.items, frame)
        return expect(items, list, "'in'")
    bounds = expect(render(body.bounds, frame) if body.bounds else None, list, "'range'")
    if len(bounds) != 2:
        raise type_error(f"'range' needs two numbers, not {len(bounds)}")
    return _between(*(expect_number(bound, "a bound of 'range'") for bound in bounds))


def _between(first: float, last: float) -> Sequence[Value]:
    if not last - first < RANGE_LIMIT:
        raise resource_limit(
            f"'range' from {first} to {last} has more than {RANGE_LIMIT} numbers; split it"
        )
    if isinstance(first, int) and isinstance(last, int):
        return range(first, last + 1)
    return [first + step for step in range(math.floor(last - first) + 1)] if last >= first else []
