"""What services raise, as gRPC status and as REST error JSON.

Services raise `google.api_core.exceptions`; anything else is an INTERNAL error of ours.

Source: google/rpc/code.proto, google/rpc/status.proto.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.api_core import exceptions
from google.protobuf import any_pb2, json_format
from google.rpc import status_pb2

_CODE_BY_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def as_api_error(error: BaseException) -> exceptions.GoogleAPICallError:
    """Return the error itself when it is Google's, else an InternalServerError that names it."""
    if isinstance(error, exceptions.GoogleAPICallError):
        return error
    return exceptions.InternalServerError(f"{type(error).__name__}: {error}")


def error_of(status: int, message: str) -> exceptions.GoogleAPICallError:
    """Return the exception for an HTTP status."""
    return exceptions.from_http_status(status, message)


def grpc_code(error: exceptions.GoogleAPICallError) -> grpc.StatusCode:
    """Return the canonical code, derived from the HTTP status where the class has none."""
    code = error.grpc_status_code
    if isinstance(code, grpc.StatusCode):
        return code
    return _CODE_BY_STATUS.get(http_status(error), grpc.StatusCode.UNKNOWN)


def http_status(error: exceptions.GoogleAPICallError) -> int:
    """Return the HTTP status."""
    return int(error.code or 500)


def status_message(error: exceptions.GoogleAPICallError) -> status_pb2.Status:
    """Return google.rpc.Status with the error's details packed."""
    return status_pb2.Status(
        code=grpc_code(error).value[0], message=error.message, details=_packed(error.details)
    )


def error_json(error: exceptions.GoogleAPICallError) -> dict[str, Any]:
    """Return the body that Google's REST front ends answer."""
    body: dict[str, Any] = {
        "code": http_status(error),
        "message": error.message,
        "status": grpc_code(error).name,
    }
    if details := [json_format.MessageToDict(each) for each in _packed(error.details)]:
        body["details"] = details
    return {"error": body}


def _packed(details: Iterable[Any]) -> list[any_pb2.Any]:
    packed: list[any_pb2.Any] = []
    for detail in details:
        wrapper = any_pb2.Any()
        wrapper.Pack(detail)
        packed.append(wrapper)
    return packed
