"""Small helpers over proto-plus messages, whose stubs name wire types where Python's are meant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar, cast

import proto
from google.protobuf import duration_pb2, timestamp_pb2

M = TypeVar("M", bound=proto.Message)


def copied(message: M) -> M:
    """Return a deep copy."""
    kind = type(message)
    return cast(M, kind.deserialize(kind.serialize(message)))


def seconds(duration: object) -> float:
    """Return a duration field as seconds, 0 when it is not set."""
    return duration.total_seconds() if isinstance(duration, timedelta) else 0.0


def timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    """Return a point in time as the wire type."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def since(start: object, end: datetime) -> duration_pb2.Duration:
    """Return the time from a timestamp field to `end` as the wire type; zero when it is not set."""
    length = duration_pb2.Duration()
    if isinstance(start, datetime):
        length.FromTimedelta(end - start)
    return length
