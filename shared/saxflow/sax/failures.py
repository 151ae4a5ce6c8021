"""What a SAX server's refusal means: its status, or the status hidden in an admin's text.

Every error of the real admin travels as UNKNOWN with a text such as `model {test m} not found: rpc
error: code = NotFound desc = NotFound`; the code in the text is the one that counts.

Source: google/saxml v1.1.0 `saxml/common/errors.go` (which codes saxutil repeats).
"""

from __future__ import annotations

import re

from saxflow.errors import SaxError

ADMIN_RETRIES = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
SERVER_RETRIES = ADMIN_RETRIES | {"NOT_FOUND"}
NO_RETRIES: frozenset[str] = frozenset()

_HIDDEN = re.compile(r":?\s*rpc error: code = (\w+) desc = (.*)", re.DOTALL)
_CODES = {
    "Canceled": "CANCELLED",
    "Unknown": "UNKNOWN",
    "InvalidArgument": "INVALID_ARGUMENT",
    "DeadlineExceeded": "DEADLINE_EXCEEDED",
    "NotFound": "NOT_FOUND",
    "AlreadyExists": "ALREADY_EXISTS",
    "PermissionDenied": "PERMISSION_DENIED",
    "ResourceExhausted": "RESOURCE_EXHAUSTED",
    "FailedPrecondition": "FAILED_PRECONDITION",
    "Aborted": "ABORTED",
    "OutOfRange": "OUT_OF_RANGE",
    "Unimplemented": "UNIMPLEMENTED",
    "Internal": "INTERNAL",
    "Unavailable": "UNAVAILABLE",
    "DataLoss": "DATA_LOSS",
    "Unauthenticated": "UNAUTHENTICATED",
}
"""Go's name of a status -> its canonical name."""


def refusal(code: str, details: str, *, where: str, retried: frozenset[str]) -> SaxError:
    """Return the exception for a status.

    Args:
        code: canonical name of the status on the wire.
        details: the server's text.
        where: method and address, for the message.
        retried: wire codes after which saxutil repeats such a call.
    """
    text, hidden = _read(details)
    true_code = hidden if code == "UNKNOWN" and hidden else code
    return SaxError(
        f"{where}: {text or true_code.lower()}", code=true_code, retryable=code in retried
    )


def _read(details: str) -> tuple[str, str | None]:
    """Split a text into words for a person and the canonical code hidden in it."""
    found = _HIDDEN.search(details)
    if found is None:
        return details, None
    name, inner = found.groups()
    words = details[: found.start()]
    return (words if inner == name else f"{words}: {inner}".lstrip(": ")), _CODES.get(name)
