"""Exceptions over HTTP."""

from __future__ import annotations

import pytest

from saxflow.errors import (
    BusyError,
    CloudError,
    DeadlineError,
    InputError,
    NotFoundError,
    ProtocolError,
    RequestError,
    SaxError,
    SaxflowError,
    TransientError,
)
from saxflow.serving.failures import failure_of, internal


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RequestError("x", param="n", code="c"), 400, "c"),
        (TransientError("x"), 503, "model_not_ready"),
        (InputError("x"), 400, None),
        (NotFoundError("x"), 404, "model_not_found"),
        (BusyError("x"), 429, "queue_full"),
        (DeadlineError("x"), 504, "timeout"),
        (CloudError("x", service="storage"), 503, "control_unavailable"),
        (ProtocolError("x"), 502, "backend_error"),
        (SaxError("x", code="NOT_FOUND", retryable=True), 503, "model_not_ready"),
        (SaxError("x", code="NOT_FOUND"), 404, "model_not_found"),
        (SaxError("x", code="INVALID_ARGUMENT"), 400, "backend_refused"),
        (SaxError("x", code="UNAVAILABLE"), 503, "backend_unavailable"),
        (SaxError("x", code="RESOURCE_EXHAUSTED"), 429, "backend_busy"),
        (SaxError("x", code="DEADLINE_EXCEEDED"), 504, "timeout"),
        (SaxError("x", code="INTERNAL"), 502, "backend_error"),
    ],
)
def test_statuses(error: SaxflowError, status: int, code: str | None) -> None:
    failure = failure_of(error)
    assert (failure.status, failure.code, failure.message) == (status, code, "x")
    assert set(failure.body()["error"]) == {"message", "type", "param", "code"}
    retry = status in (429, 503)
    assert ("Retry-After" in failure.headers) is retry


def test_the_field_at_fault_and_the_key_that_is_missing() -> None:
    assert failure_of(RequestError("x", param="n")).body()["error"]["param"] == "n"
    assert failure_of(RequestError("x", status=401)).headers == {"WWW-Authenticate": "Bearer"}


def test_a_bug_tells_nothing_of_itself() -> None:
    assert internal().status == 500
    assert internal().body()["error"]["code"] == "internal_error"
