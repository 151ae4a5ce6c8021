"""CloudEvents of a deployment: the table of types, the events themselves, what they amount to.

table   every type with its stage and the state it leads to
event   one CloudEvent, to and from the log and Pub/Sub
fold    a set of events -> `DeploymentStatus`
schema  an event as JSON Schema
"""

from __future__ import annotations

from saxflow.events.event import (
    CONTENT_TYPE,
    SPEC_VERSION,
    STRUCTURED_CONTENT_TYPE,
    Event,
    build,
    decode,
    from_json,
    from_message,
    log_name,
    moment,
    source_of,
)
from saxflow.events.fold import DeploymentStatus, fold
from saxflow.events.schema import json_schema
from saxflow.events.table import PREFIX, STATES, STREAM_ENDS, TYPES, EventType

__all__ = [
    "CONTENT_TYPE",
    "PREFIX",
    "SPEC_VERSION",
    "STATES",
    "STREAM_ENDS",
    "STRUCTURED_CONTENT_TYPE",
    "TYPES",
    "DeploymentStatus",
    "Event",
    "EventType",
    "build",
    "decode",
    "fold",
    "from_json",
    "from_message",
    "json_schema",
    "log_name",
    "moment",
    "source_of",
]
