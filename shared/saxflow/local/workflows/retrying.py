"""`try`: run, retry by a policy, then meet the error in `except`.

Source: https://cloud.google.com/workflows/docs/reference/syntax/retrying
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from saxflow.local.workflows.failures import Value, WorkflowFailure, type_error
from saxflow.local.workflows.flow import Flow, Frame
from saxflow.local.workflows.stdlib.policies import DEFAULT_BACKOFF, DEFAULT_MAX_RETRIES, delays
from saxflow.local.workflows.stdlib.signature import expect
from saxflow.local.workflows.steps import Retry, StepList, Try, render
from saxflow.local.workflows.values import FunctionRef, type_name


def run_try(body: Try, frame: Frame) -> Flow:
    """Run a `try` step.

    Raises:
        WorkflowFailure: the error was neither cured by a retry nor caught, or `except` raised.
    """
    pauses: Iterator[float] | None = None
    while True:
        try:
            return frame.run_steps(body.steps)
        except WorkflowFailure as error:
            failed = error
        policy = None if body.retry is None else _policy(body.retry, frame)
        if policy is None or not _wanted(policy, failed, frame):
            break
        pauses = pauses or _pauses(policy)
        pause = next(pauses, None)
        if pause is None:
            break
        frame.sleep(pause)
    if body.handler is None:
        raise failed
    return _handle(body.error_name, body.handler, failed, frame)


def _handle(
    error_name: str | None, handler: StepList, failed: WorkflowFailure, frame: Frame
) -> Flow:
    with frame.block() as scope:
        if error_name is not None:
            scope.declare(error_name, failed.payload)
        return frame.run_steps(handler)


def _policy(retry: Retry, frame: Frame) -> dict[str, Value]:
    if retry.policy is not None:
        return expect(render(retry.policy, frame), dict, "retry")
    parts = {"predicate": retry.predicate, "max_retries": retry.max_retries}
    policy = {name: render(part, frame) for name, part in parts.items() if part is not None}
    if retry.backoff:
        backoff = {name: render(part, frame) for name, part in retry.backoff.items()}
        policy["backoff"] = backoff.get("", backoff)
    return policy


def _wanted(policy: dict[str, Value], failed: WorkflowFailure, frame: Frame) -> bool:
    predicate = policy.get("predicate")
    if not isinstance(predicate, FunctionRef):
        raise type_error(f"a retry predicate is a function, not {type_name(predicate)}")
    try:
        answer = frame.call(predicate.name, [failed.payload])
    except WorkflowFailure:
        return False
    return expect(answer, bool, "the predicate's answer")


def _pauses(policy: dict[str, Value]) -> Iterator[float]:
    most = expect(policy.get("max_retries", DEFAULT_MAX_RETRIES), int, "max_retries")
    backoff = expect(policy.get("backoff", DEFAULT_BACKOFF), dict, "backoff")
    return islice(delays(backoff), max(most, 0))
