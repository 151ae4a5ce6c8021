"""`json.*`, `base64.*`, `hash.*`, `time.*` and `uuid.generate`.

Source: https://cloud.google.com/workflows/docs/reference/stdlib/overview
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from saxflow.local.workflows.failures import Value, type_error, value_error
from saxflow.local.workflows.stdlib.signature import Function, expect, expect_number, pure
from saxflow.local.workflows.values import from_json, to_json, type_name

_ALGORITHMS = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
}
_FRACTION = re.compile(r"\.(\d+)")
_INDENT = 2
_WIDEST = 100


def _json_text(data: Value, indent: Value = None) -> str:
    return to_json(data, indent=_width(indent))


def _width(indent: Value) -> int | None:
    if indent is None:
        return None
    given = indent.get("indent", _INDENT) if isinstance(indent, dict) else indent
    width = expect(given, int, "indent")
    if not 0 <= width <= _WIDEST:
        raise value_error(f"indent is {width}; use 0 to {_WIDEST}")
    return width


def _json_decode(data: Value) -> Value:
    if not isinstance(data, str | bytes):
        raise type_error(f"json.decode needs a string or bytes, not {type_name(data)}")
    return from_json(data)


def _base64_encode(data: Value, padding: Value = True) -> str:
    text = base64.b64encode(expect(data, bytes, "data")).decode()
    return text if expect(padding, bool, "padding") else text.rstrip("=")


def _base64_decode(data: Value, padding: Value = True) -> bytes:
    text = expect(data, str, "data")
    if not expect(padding, bool, "padding"):
        text += "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise value_error(f"base64.decode: {error}") from None


def _algorithm(name: Value) -> str:
    known = _ALGORITHMS.get(expect(name, str, "algorithm"))
    if known is None:
        raise value_error(f"algorithm {name!r} is unknown; use one of {', '.join(_ALGORITHMS)}")
    return known


def _checksum(data: Value, algorithm: Value) -> bytes:
    return hashlib.new(_algorithm(algorithm), expect(data, bytes, "data")).digest()


def _hmac(key: Value, data: Value, algorithm: Value) -> bytes:
    secret, message = expect(key, bytes, "key"), expect(data, bytes, "data")
    return hmac.digest(secret, message, _algorithm(algorithm))


def format_time(seconds: Value, timezone: Value = "UTC") -> str:
    """Return a point in time in the form of RFC 3339.

    Raises:
        WorkflowFailure: TypeError or ValueError, no such time or zone.
    """
    moment = expect_number(seconds, "seconds")
    zone = expect(timezone, str, "timezone")
    try:
        text = datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(timespec="microseconds")
    except (OSError, OverflowError, ValueError, KeyError) as error:
        raise value_error(f"time.format({moment}, {zone!r}): {error}") from None
    return text.replace("+00:00", "Z")


def _parse(value: Value) -> float:
    text = expect(value, str, "value")
    trimmed = _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text).upper()
    try:
        moment = datetime.fromisoformat(trimmed.replace("Z", "+00:00"))
    except ValueError:
        raise value_error(f"time.parse: {text[:60]!r} is not an RFC 3339 time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _uuid() -> str:
    return str(uuid.uuid4())


FUNCTIONS: dict[str, Function] = {
    "base64.decode": pure("data padding?", _base64_decode),
    "base64.encode": pure("data padding?", _base64_encode),
    "hash.compute_checksum": pure("data algorithm", _checksum),
    "hash.compute_hmac": pure("key data algorithm", _hmac),
    "json.decode": pure("data", _json_decode),
    "json.encode": pure("data indent?", lambda *values: _json_text(*values).encode()),
    "json.encode_to_string": pure("data indent?", _json_text),
    "time.format": pure("seconds timezone?", format_time),
    "time.parse": pure("value", _parse),
    "uuid.generate": pure("", _uuid),
}
