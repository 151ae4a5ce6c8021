from __future__ import annotations

import grpc
import pytest
from google.api_core import exceptions
from google.rpc import error_details_pb2

from saxflow.local.rpc.status import (
    as_api_error,
    error_json,
    error_of,
    grpc_code,
    http_status,
    status_message,
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (exceptions.NotFound("x"), 404, "NOT_FOUND"),
        (exceptions.AlreadyExists("x"), 409, "ALREADY_EXISTS"),
        (exceptions.Aborted("x"), 409, "ABORTED"),
        (exceptions.Conflict("x"), 409, "ABORTED"),
        (exceptions.InvalidArgument("x"), 400, "INVALID_ARGUMENT"),
        (exceptions.FailedPrecondition("x"), 400, "FAILED_PRECONDITION"),
        (exceptions.TooManyRequests("x"), 429, "RESOURCE_EXHAUSTED"),
        (exceptions.ResourceExhausted("x"), 429, "RESOURCE_EXHAUSTED"),
        (exceptions.MethodNotImplemented("x"), 501, "UNIMPLEMENTED"),
        (exceptions.ServiceUnavailable("x"), 503, "UNAVAILABLE"),
        (error_of(503, "x"), 503, "UNAVAILABLE"),
        (error_of(418, "x"), 418, "UNKNOWN"),
        (as_api_error(ValueError("x")), 500, "INTERNAL"),
    ],
)
def test_codes(error: exceptions.GoogleAPICallError, status: int, code: str) -> None:
    assert http_status(error) == status
    assert grpc_code(error) is grpc.StatusCode[code]
    assert error_json(error)["error"]["status"] == code


def test_details_travel() -> None:
    info = error_details_pb2.ErrorInfo(reason="R", domain="d")
    error = exceptions.NotFound("gone", details=[info])
    assert error_json(error)["error"]["details"][0]["reason"] == "R"
    message = status_message(error)
    assert (message.code, message.message) == (5, "gone")
    assert message.details[0].Is(info.DESCRIPTOR)


def test_foreign_exceptions_are_named() -> None:
    assert "ValueError: boom" in as_api_error(ValueError("boom")).message
