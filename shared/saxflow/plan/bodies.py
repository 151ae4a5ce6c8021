"""Check plan bodies against the typed messages of Google's clients.

A misspelt field in JSON would be found by the service only after minutes; here it is found before
anything is stored. The clients are heavy, so they are imported when a body is checked.
"""

from __future__ import annotations

import json
from typing import Any

from saxflow.errors import ConfigurationError

LABEL = "saxflow"


def labels(name: str, generation36: str, attempt: int, digest: str) -> dict[str, str]:
    """Return the labels of every resource of an attempt.

    `saxflow-plan` tells a resource that an earlier delivery of the same plan created from a
    stranger of the same id.
    """
    return {
        "managed-by": LABEL,
        "deployment": name,
        "generation36": generation36,
        "attempt": str(attempt),
        "saxflow-plan": digest,
    }


def check_job(body: dict[str, Any]) -> None:
    """Check a Batch Job.

    Raises:
        ConfigurationError: it is no message of the API.
    """
    from google.cloud import batch_v1
    from google.protobuf.json_format import ParseError

    try:
        batch_v1.Job.from_json(json.dumps(body))
    except ParseError as error:
        raise ConfigurationError(f"the Job is no batch.v1.Job: {error}") from error


def check_queued_resource(body: dict[str, Any]) -> None:
    """Check a QueuedResource.

    Raises:
        ConfigurationError: it is no message of the API.
    """
    from google.cloud import tpu_v2
    from google.protobuf import json_format

    message = tpu_v2.QueuedResource.pb(tpu_v2.QueuedResource())
    try:
        json_format.ParseDict(body, message)
    except json_format.ParseError as error:
        raise ConfigurationError(f"the request is no tpu.v2.QueuedResource: {error}") from error
