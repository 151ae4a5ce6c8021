"""What a failure looks like over HTTP: a status and OpenAI's error object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from saxflow.errors import (
    BusyError,
    CloudError,
    DeadlineError,
    InputError,
    NotFoundError,
    RequestError,
    SaxError,
    SaxflowError,
    TransientError,
)

RETRY_SECONDS = 5
CLIENT_GONE = 499
"""Nobody reads it; it is what the metrics count."""


@dataclass(frozen=True)
class Failure:
    """A refusal ready to be sent.

    Args:
        status: HTTP status.
        kind: OpenAI's `type`.
        message: a sentence for a person.
        param: the field at fault.
        code: short name for programs.
        retry_seconds: value of `Retry-After`.
    """

    status: int
    kind: str
    message: str
    param: str | None = None
    code: str | None = None
    retry_seconds: int | None = None

    def body(self) -> dict[str, Any]:
        """Return OpenAI's error body."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        headers: dict[str, str] = {}
        if self.retry_seconds is not None:
            headers["Retry-After"] = str(self.retry_seconds)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


@dataclass(frozen=True)
class _Rule:
    status: int
    kind: str
    code: str | None = None
    retry_seconds: int | None = None

    def failure(self, error: BaseException) -> Failure:
        return Failure(
            self.status, self.kind, str(error), code=self.code, retry_seconds=self.retry_seconds
        )


_SERVER = "server_error"
_INVALID = "invalid_request_error"
_LOADING = _Rule(503, _SERVER, "model_not_ready", RETRY_SECONDS)
_GONE = _Rule(503, _SERVER, "backend_unavailable", RETRY_SECONDS)
_BUSY = _Rule(429, "rate_limit_error", "queue_full", 1)
_LATE = _Rule(504, "timeout_error", "timeout")
_UNKNOWN_MODEL = _Rule(404, _INVALID, "model_not_found")
_REFUSED = _Rule(502, _SERVER, "backend_error")

_SAX_RULES = {
    "INVALID_ARGUMENT": _Rule(400, _INVALID, "backend_refused"),
    "UNAVAILABLE": _GONE,
    "CANCELLED": _GONE,
    "RESOURCE_EXHAUSTED": _Rule(429, "rate_limit_error", "backend_busy", 1),
    "DEADLINE_EXCEEDED": _LATE,
    "UNIMPLEMENTED": _Rule(400, _INVALID, "unsupported_method"),
}
_RULES: tuple[tuple[type[SaxflowError], _Rule], ...] = (
    (BusyError, _BUSY),
    (DeadlineError, _LATE),
    (TransientError, _LOADING),
    (NotFoundError, _UNKNOWN_MODEL),
    (InputError, _Rule(400, _INVALID)),
    (CloudError, _Rule(503, _SERVER, "control_unavailable", RETRY_SECONDS)),
    (SaxflowError, _REFUSED),
)
"""Exception -> rule; the first that matches counts."""


def failure_of(error: SaxflowError) -> Failure:
    """Return what a client is told of an exception."""
    if isinstance(error, RequestError):
        return Failure(error.status, _INVALID, str(error), error.param, error.code)
    if isinstance(error, SaxError):
        return _sax_rule(error).failure(error)
    return next(rule for kind, rule in _RULES if isinstance(error, kind)).failure(error)


def internal() -> Failure:
    """Return what a client is told of a bug; the log has the rest."""
    return Failure(500, _SERVER, "internal error; see the server's log", code="internal_error")


def _sax_rule(error: SaxError) -> _Rule:
    if error.code == "NOT_FOUND":
        return _LOADING if error.retryable else _UNKNOWN_MODEL
    return _SAX_RULES.get(error.code, _REFUSED)
