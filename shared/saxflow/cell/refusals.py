"""What SAX's servers say when they refuse, code and words.

The admin's errors all travel as UNKNOWN, with the real code in the text, because its Go handlers
wrap a status in plain errors; model servers use proper codes.

Source: google/saxml v1.1.0 `common/errors.go`, recorded replies of the real admin.
"""

from __future__ import annotations

from saxflow.errors import SaxError

_GO_NAMES = {
    "ALREADY_EXISTS": "AlreadyExists",
    "CANCELLED": "Canceled",
    "FAILED_PRECONDITION": "FailedPrecondition",
    "INVALID_ARGUMENT": "InvalidArgument",
    "NOT_FOUND": "NotFound",
    "UNIMPLEMENTED": "Unimplemented",
}


def admin_refusal(message: str, code: str) -> SaxError:
    """Return an error whose text is what a Go admin sends for it."""
    name = _GO_NAMES[code]
    return SaxError(f"{message}: rpc error: code = {name} desc = {name}", code=code)


def refusal(message: str, code: str) -> SaxError:
    """Return a model server's error."""
    return SaxError(message, code=code, retryable=code in ("NOT_FOUND", "RESOURCE_EXHAUSTED"))
