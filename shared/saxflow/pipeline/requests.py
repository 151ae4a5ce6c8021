"""HTTP requests of the functions that Workflows call: decode, act, answer JSON.

Errors answer with Google's shape, `{"error": {"code", "message", "status"}}`: 400 and 404 are final,
503 asks the Workflow to repeat the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from saxflow.errors import (
    BusyError,
    CloudError,
    InputError,
    NotFoundError,
    SaxflowError,
    TransientError,
)
from saxflow.pipeline.logs import log
from saxflow.pipeline.plans import load_core
from saxflow.pipeline.services import Services, services

Answer = tuple[dict[str, Any], int]


def answer(
    body: Any, act: Callable[[Services, dict[str, Any], Mapping[str, Any]], dict[str, Any]]
) -> Answer:
    """Load the plan that a request names, act on it, and turn errors into statuses.

    Args:
        body: the decoded JSON body, {plan, object_generation, sha256, ...}; None when it was none.
        act: takes services, the plan's core and the request; returns the reply.
    """
    return guarded(lambda: _act(body, act))


def guarded(act: Callable[[], dict[str, Any]]) -> Answer:
    """Return the reply with 200, or an error with its status."""
    try:
        return act(), 200
    except SaxflowError as error:
        status = _status(error)
        log("ERROR", str(error), status=status)
        return {"error": {"code": status, "message": str(error), "status": _name(status)}}, status


def _act(
    body: Any, act: Callable[[Services, dict[str, Any], Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    request = _request(body)
    here = services()
    core = load_core(
        here,
        _text(request, "plan"),
        _text(request, "object_generation"),
        _text(request, "sha256"),
    )
    return act(here, core, request)


def _request(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise InputError("the body is no JSON object; send {plan, object_generation, sha256}")
    return cast("dict[str, Any]", body)


def _text(request: Mapping[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} is {value!r}; text was expected")
    return value


def _status(error: SaxflowError) -> int:
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, InputError):
        return 400
    if isinstance(error, (BusyError, TransientError)):
        return 503
    if isinstance(error, CloudError):
        return 503 if error.retryable else 502
    return 500


def _name(status: int) -> str:
    return {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 503: "UNAVAILABLE"}.get(status, "INTERNAL")
