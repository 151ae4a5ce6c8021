"""One HTTP POST, as Eventarc, Cloud Scheduler and push subscriptions make it."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_seconds: float) -> int:
    """Send a body and return the answer's status.

    Raises:
        OSError, http.client.HTTPException: nobody answered.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_seconds)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", path, body, dict(headers))
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()
