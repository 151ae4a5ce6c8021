"""What an Execution says of itself: its environment, error, views and record; what it accepts.

Source: google/cloud/workflows/executions/v1/executions.proto
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from google.api_core import exceptions
from google.cloud import workflows_v1
from google.cloud.workflows import executions_v1
from google.protobuf import json_format

from saxflow.local.messages import copied
from saxflow.local.rpc.operations import plain
from saxflow.local.workflows.failures import Value, WorkflowFailure, context_of
from saxflow.local.workflows.values import error_json, from_json

ARGUMENT_LIMIT_BYTES = 32 * 1024
LABEL_LIMIT = 64
PROJECT_NUMBER = "000000000000"

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def environment(name: str, definition: workflows_v1.Workflow) -> dict[str, str]:
    """Return what `sys.get_env` knows in an Execution of this name."""
    parts = name.split("/")
    return {
        **dict(definition.user_env_vars),
        "GOOGLE_CLOUD_PROJECT_ID": parts[1],
        "GOOGLE_CLOUD_PROJECT_NUMBER": PROJECT_NUMBER,
        "GOOGLE_CLOUD_LOCATION": parts[3],
        "GOOGLE_CLOUD_WORKFLOW_ID": parts[5],
        "GOOGLE_CLOUD_WORKFLOW_REVISION_ID": definition.revision_id,
        "GOOGLE_CLOUD_WORKFLOW_EXECUTION_ID": parts[7],
        "GOOGLE_CLOUD_WORKFLOW_EXECUTION_ATTEMPT": "1",
    }


def checked_argument(text: str) -> Value:
    """Return the value of an argument.

    Raises:
        InvalidArgument: it is not JSON, or longer than 32 KB.
    """
    size = len(text.encode())
    if size > ARGUMENT_LIMIT_BYTES:
        raise exceptions.InvalidArgument(
            f"argument of {size} bytes; at most {ARGUMENT_LIMIT_BYTES} are allowed"
        )
    try:
        return from_json(text) if text else None
    except WorkflowFailure as error:
        raise exceptions.InvalidArgument(f"argument is {error.payload['message']}") from None


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that the service does not take.

    Raises:
        InvalidArgument: too many, or characters outside of their alphabet.
    """
    if len(labels) > LABEL_LIMIT:
        raise exceptions.InvalidArgument(f"{len(labels)} labels; at most {LABEL_LIMIT} allowed")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise exceptions.InvalidArgument(
                f"label {key!r}: {value!r}; up to 63 lower-case letters, digits, '_' and '-' are"
                " allowed, a letter first in the key"
            )


def error_of(error: WorkflowFailure) -> executions_v1.Execution.Error:
    """Return an error that nothing caught as an Execution shows it: payload, context, trace."""
    context = context_of(error.payload, error.trace[0] if error.trace else None)
    elements = [
        {"step": p.step, "routine": p.routine, "position": {"line": p.line or 0}}
        for p in error.trace
    ]
    return executions_v1.Execution.Error(
        payload=error_json(error.payload), context=context, stack_trace={"elements": elements}
    )


def basic_view(execution: executions_v1.Execution) -> executions_v1.Execution:
    """Return an Execution without argument, result and error."""
    basic = copied(execution)
    basic.argument = ""
    basic.result = ""
    plain(basic).ClearField("error")
    return basic


def started(execution: executions_v1.Execution) -> datetime:
    """Return when an Execution was started."""
    moment = cast(object, execution.start_time)
    return moment if isinstance(moment, datetime) else datetime.min.replace(tzinfo=UTC)


def from_record(record: dict[str, Any]) -> executions_v1.Execution:
    """Return the Execution of a stored record."""
    execution = executions_v1.Execution()
    json_format.ParseDict(record, plain(execution))
    return execution
