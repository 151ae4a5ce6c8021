"""The JSON Schema of an event as the log holds it."""

from __future__ import annotations

from typing import Any

from saxflow.events.event import CONTENT_TYPE, SPEC_VERSION
from saxflow.events.table import PREFIX, TYPES

_TEXT = {"type": "string", "minLength": 1}
_PROGRESS = {
    "type": "object",
    "description": "Merged over all Tasks; rates in bytes per second, ETA in seconds.",
    "properties": {
        "bytes_done": {"type": "integer", "minimum": 0},
        "bytes_total": {"type": "integer", "minimum": 0},
        "bytes_per_second": {"type": "number", "minimum": 0},
        "eta_seconds": {"type": ["number", "null"]},
    },
}
_FAILURE = {
    "type": "object",
    "required": ["stage", "reason", "retryable"],
    "properties": {
        "stage": _TEXT,
        "reason": {**_TEXT, "description": "A sentence a person can act on."},
        "retryable": {"type": "boolean"},
        "vendor": {"description": "The service's own error, as it came."},
        "log": {"type": "string", "description": "An excerpt of the log that shows it."},
    },
}
_DATA = {
    "type": "object",
    "required": ["deployment", "generation", "attempt", "stage", "message"],
    "properties": {
        "deployment": _TEXT,
        "generation": {"type": "string", "pattern": "^[0-9]+$"},
        "attempt": {"type": "integer", "minimum": 0},
        "stage": {"enum": list(dict.fromkeys(row.stage for row in TYPES.values()))},
        "message": {"type": "string"},
        "model": {"type": "string", "examples": ["/sax/test/llama27b"]},
        "progress": _PROGRESS,
        "failure": _FAILURE,
        "problems": {"type": "array", "description": "Of a rejected manifest."},
    },
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event as the log holds it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:saxflow:schema:event:v1",
        "title": "saxflow deployment event",
        "description": "A CloudEvent 1.0 in JSON format. On Pub/Sub the same event travels in the"
        " binary binding: context attributes as ce-*, data as the message's data.",
        "type": "object",
        "required": ["specversion", "id", "type", "source", "subject", "time", "data"],
        "properties": {
            "specversion": {"const": SPEC_VERSION},
            "id": {**_TEXT, "description": "<name>/<generation>/<attempt>/<type>[/<n>]"},
            "type": {"enum": [PREFIX + name for name in TYPES]},
            "source": {"type": "string", "pattern": "^//saxflow/projects/.+/deployments/.+$"},
            "subject": {**_TEXT, "description": "The deployment's name."},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": CONTENT_TYPE},
            "data": _DATA,
        },
    }
