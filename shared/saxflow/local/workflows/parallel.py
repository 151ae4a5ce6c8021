"""`parallel`: branches or iterations in threads of their own, their errors gathered at the end.

Every branch runs to its end whatever becomes of the others (`continueAll`, the only policy there
is); then one UnhandledBranchError tells of all that failed.

Source: https://cloud.google.com/workflows/docs/reference/syntax/parallel-steps
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from saxflow.local.workflows.failures import (
    Place,
    Value,
    WorkflowFailure,
    context_of,
    failure,
    value_error,
)
from saxflow.local.workflows.flow import Flow, Frame
from saxflow.local.workflows.loops import iterations, run_iteration
from saxflow.local.workflows.stdlib.signature import expect
from saxflow.local.workflows.steps import For, Parallel, StepList, render
from saxflow.local.workflows.values import error_json

NESTING_LIMIT = 2
CONCURRENCY_LIMIT = 20
ERROR_LIMIT = 100


@dataclass(frozen=True)
class _Branch:
    name: str
    run: Callable[[Frame], Flow]


@dataclass(frozen=True)
class _Failed:
    name: str
    payload: Value
    place: Place | None


def run_parallel(body: Parallel, frame: Frame) -> None:
    """Run every branch of a `parallel` step and wait for all of them.

    Raises:
        WorkflowFailure: UnhandledBranchError, ParallelNestingError.
        Cancelled: the Execution was cancelled.
    """
    if frame.nesting >= NESTING_LIMIT:
        raise failure("ParallelNestingError", f"parallel steps nest at most {NESTING_LIMIT} deep")
    branches = [_Branch(name, _steps(steps)) for name, steps in body.branches]
    if body.loop is not None:
        branches += [
            _Branch(str(index), _iteration(body.loop, index, item))
            for index, item in enumerate(iterations(body.loop, frame))
        ]
    if branches:
        _report(_run_all(branches, body, frame))


def _steps(steps: StepList) -> Callable[[Frame], Flow]:
    return lambda frame: frame.run_steps(steps)


def _iteration(loop: For, index: int, item: Value) -> Callable[[Frame], Flow]:
    return lambda frame: run_iteration(loop, frame, index, item)


def _width(body: Parallel, frame: Frame, count: int) -> int:
    limit = CONCURRENCY_LIMIT
    if body.limit is not None:
        limit = expect(render(body.limit, frame), int, "concurrency_limit")
        if limit < 1:
            raise value_error(f"concurrency_limit is {limit}; it must be positive")
    return max(1, min(limit, count, CONCURRENCY_LIMIT // frame.width))


def _run_all(branches: list[_Branch], body: Parallel, frame: Frame) -> list[_Failed]:
    """Return the branches that failed, in their order in the source."""
    width = _width(body, frame, len(branches))

    def run(branch: _Branch) -> _Failed | None:
        with frame.branch(body.shared, width) as inner:
            try:
                branch.run(inner)
            except WorkflowFailure as error:
                place = error.trace[0] if error.trace else inner.place()
                return _Failed(branch.name, error.payload, place)
        return None

    with ThreadPoolExecutor(width, thread_name_prefix="branch") as pool:
        return [failed for failed in pool.map(run, branches) if failed is not None]


def _report(failed: list[_Failed]) -> None:
    if failed:
        raise failure(
            "UnhandledBranchError",
            "One or more branches or iterations encountered an unhandled runtime error",
            "RuntimeError",
            branches=[{"id": each.name, "error": _error(each)} for each in failed[:ERROR_LIMIT]],
            truncated=len(failed) > ERROR_LIMIT,
        )


def _error(failed: _Failed) -> Value:
    return {
        "context": context_of(failed.payload, failed.place),
        "payload": error_json(failed.payload),
    }
