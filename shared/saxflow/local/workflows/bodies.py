"""Bodies of HTTP messages, values and bytes, by their content type.

Source: https://cloud.google.com/workflows/docs/http-requests
"""

from __future__ import annotations

from urllib.parse import urlencode

from saxflow.local.workflows.failures import Value, WorkflowFailure, type_error
from saxflow.local.workflows.values import from_json, text_of, to_json, type_name


def default_content_type(body: Value) -> str:
    """Return the content type of a body that was given none."""
    if isinstance(body, bytes):
        return "application/octet-stream"
    return "application/json; charset=utf-8"


def encode_body(body: Value, content_type: str) -> bytes:
    """Return what is sent for a value.

    Raises:
        WorkflowFailure: TypeError, it has no form of this type.
    """
    if isinstance(body, bytes):
        return body
    if _is_json(content_type):
        return to_json(body).encode()
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, dict) and "x-www-form-urlencoded" in content_type:
        return urlencode({name: text_of(value) for name, value in body.items()}).encode()
    raise type_error(f"a body of type {type_name(body)} cannot be sent as {content_type}")


def decode_body(body: bytes, content_type: str) -> Value:
    """Return the value received: JSON's, text as a string, and bytes as they are.

    What claims to be JSON and is not comes as a string, nothing at all as null.
    """
    if _is_json(content_type):
        try:
            return from_json(body) if body else None
        except WorkflowFailure:
            return body.decode("utf-8", "replace")
    if content_type.lower().startswith("text/"):
        return body.decode("utf-8", "replace")
    return body


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
