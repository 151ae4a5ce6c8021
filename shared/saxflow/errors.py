"""Every exception saxflow raises, in one tree, divided by whose fault it is.

    SaxflowError                 exit 1
    ├── InputError               exit 3   the user: a manifest, weights, an argument
    │   ├── ManifestError                 carries every problem found, with line and column
    │   ├── WeightsError                  a checkpoint that cannot be read or does not add up
    │   └── RequestError                  an HTTP request that cannot be served as it is
    ├── NotFoundError            exit 4   the thing named does not exist
    ├── BusyError                exit 1   somebody else holds it now
    ├── DeadlineError            exit 5   waiting took longer than allowed
    ├── TransientError           exit 6   worth repeating as it is
    ├── IntegrityError           exit 1   bytes differ from what was promised
    ├── ConfigurationError       exit 1   the operator: a setting, an extra, a role
    ├── ProtocolError            exit 1   a peer broke its protocol
    ├── SaxError                 exit 1   a SAX server said no; 3, 4, 5 or 6 after its code
    └── CloudError               exit 1   a Google service said no; 6 when retryable

Messages are lower case, name the thing, quote the value and give the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class SaxflowError(Exception):
    """Root of the tree; `exit_code` is what the command line answers."""

    exit_code = 1


class InputError(SaxflowError):
    """What the user gave cannot be used."""

    exit_code = 3


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a document.

    Args:
        path: dotted field, for example `tpu.acceleratorType`; empty for the document itself.
        message: what is wrong and what would be right.
        line: 1-based, None when the field is absent.
        column: 1-based, None when the field is absent.
    """

    path: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"{self.line}:{self.column}: " if self.line is not None else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ManifestError(InputError):
    """A manifest with one or more problems, all of them reported at once."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{name}: {count}", *(f"  {p}" for p in self.problems)]))


class WeightsError(InputError):
    """Source weights that are missing, unreadable, unsafe or contradict each other."""


class RequestError(InputError):
    """An HTTP request that cannot be served as it is.

    Args:
        message: what is wrong and what would be right.
        param: the field at fault, None when it is none in particular.
        code: short name for programs, for example `context_length_exceeded`.
        status: HTTP status.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int = 400,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


class NotFoundError(SaxflowError):
    """The deployment, object or model named does not exist."""

    exit_code = 4


class BusyError(SaxflowError):
    """Another process or Execution holds the thing; the message names it."""


class DeadlineError(SaxflowError):
    """A wait ended without what it waited for."""

    exit_code = 5


class TransientError(SaxflowError):
    """A failure that a repetition, unchanged, may cure; Batch retries on its exit code."""

    exit_code = 6


class IntegrityError(SaxflowError):
    """Stored bytes differ from what a digest, size or plan promised."""


class ConfigurationError(SaxflowError):
    """The installation lacks a setting, an optional dependency or a permission."""


class ProtocolError(SaxflowError):
    """A peer answered outside its protocol."""


class SaxError(SaxflowError):
    """A SAX server refused.

    Args:
        message: the server's words, with the place they came from.
        code: canonical gRPC status name, for example `ALREADY_EXISTS`, after the text of
            admin errors (which all travel as UNKNOWN) has been read.
        retryable: whether saxutil would repeat the call.
    """

    def __init__(self, message: str, *, code: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.exit_code = _SAX_EXIT_CODES.get(code, 1)


_SAX_EXIT_CODES = {
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 4,
    "DEADLINE_EXCEEDED": 5,
    "UNAVAILABLE": 6,
    "RESOURCE_EXHAUSTED": 6,
}


class CloudError(SaxflowError):
    """A Google Cloud service refused or could not be reached.

    Args:
        message: what was attempted and what the service said.
        service: short name: `storage`, `pubsub`, `batch`, `tpu`, `workflows`, `executions`.
        code: HTTP status, or None when no answer came.
        retryable: whether the same call may succeed later.
    """

    def __init__(
        self, message: str, *, service: str, code: int | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.service = service
        self.code = code
        self.retryable = retryable
        self.exit_code = 6 if retryable else 1
