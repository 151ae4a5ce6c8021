"""`parallel`: branches or iterations in threads of their own, their errors gathered at the end.

Every branch runs to its end whatever becomes of the others (`continueAll`, the only policy there
is); then one UnhandledBranchError tells of all that failed.

Source: https://cloud.google.com/workflows/docs/reference/syntax/parallel-steps
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from saxflow.local.workflows.failures import (
    Place,
    Value,
    WorkflowFailure,
    context_of,
    failure,
    value_error,
)
from saxflow.local.workflows.stdlib.signature import expect
from saxflow.local.workflows.steps import For, Parallel, StepList, render
from saxflow.local.workflows.values import to_json

if TYPE_CHECKING:
    from saxflow.local.workflows.interpreter import Flow, Frame

NESTING_LIMIT = 2
CONCURRENCY_LIMIT = 20
ERROR_LIMIT = 100


@dataclass(frozen=True)
class _Branch:
    name: str
    run: Callable[[Frame], Flow]


def run_parallel(
    body: Parallel,
    frame: Frame,
    run_steps: Callable[[StepList, Frame], Flow],
    iterations: Callable[[For, Frame], Sequence[Value]],
    run_iteration: Callable[[For, Frame, int, Value], Flow],
) -> None:
    """Run every branch of a `parallel` step and wait for all of them.

    Raises:
        WorkflowFailure: UnhandledBranchError, ParallelNestingError.
        Cancelled: the Execution was cancelled.
    """
    if frame.nesting >= NESTING_LIMIT:
        raise failure("ParallelNestingError", f"parallel steps nest at most {NESTING_LIMIT} deep")
    branches = [
        _Branch(name, partial(_run_branch, run_steps, steps)) for name, steps in body.branches
    ]
    if body.loop is not None:
        branches += [
            _Branch(str(index), partial(_run_item, run_iteration, body.loop, index, item))
            for index, item in enumerate(iterations(body.loop, frame))
        ]
    if branches:
        _report(_run_all(branches, body, frame))


def _run_branch(
    run_steps: Callable[[StepList, Frame], Flow], steps: StepList, frame: Frame
) -> Flow:
    return run_steps(steps, frame)


def _run_item(
    run_iteration: Callable[[For, Frame, int, Value], Flow],
    loop: For,
    index: int,
    item: Value,
    frame: Frame,
) -> Flow:
    return run_iteration(loop, frame, index, item)


def _width(body: Parallel, frame: Frame, count: int) -> int:
    limit = CONCURRENCY_LIMIT
    if body.limit is not None:
        limit = expect(render(body.limit, frame), int, "concurrency_limit")
        if limit < 1:
            raise value_error(f"concurrency_limit is {limit}; it must be positive")
    return max(1, min(limit, count, CONCURRENCY_LIMIT // frame.width))


def _run_all(
    branches: list[_Branch], body: Parallel, frame: Frame
) -> list[tuple[str, WorkflowFailure, Frame]]:
    width = _width(body, frame, len(branches))
    failed: list[tuple[str, WorkflowFailure, Frame]] = []

    def run(branch: _Branch) -> None:
        inner = frame.branch(body.shared, width)
        try:
            branch.run(inner)
        except WorkflowFailure as error:
            failed.append((branch.name, error, inner))
        finally:
            inner.scope.close()

    with ThreadPoolExecutor(width, thread_name_prefix="branch") as pool:
        for future in [pool.submit(run, branch) for branch in branches]:
            future.result()
    return failed


def _report(failed: list[tuple[str, WorkflowFailure, Frame]]) -> None:
    if not failed:
        return
    kept = sorted(failed, key=lambda item: item[0])[:ERROR_LIMIT]
    raise failure(
        "UnhandledBranchError",
        "One or more branches or iterations encountered an unhandled runtime error",
        "RuntimeError",
        branches=[{"id": name, "error": _error(error, frame)} for name, error, frame in kept],
        truncated=len(failed) > ERROR_LIMIT,
    )


def _error(error: WorkflowFailure, frame: Frame) -> Value:
    step = frame.step
    place = Place(frame.routine.name, step.name, step.mark.line) if step else None
    return {"context": context_of(error.payload, place), "payload": to_json(error.payload)}
