from __future__ import annotations

from saxflow.local.eventarc import event_attributes, event_headers
from saxflow.local.storage.resources import ObjectRecord

RECORD = ObjectRecord("b", "in/é x\n", 5, 2, "f", 3, "crc", "md5", "t0", "t0")
TYPE = "google.cloud.storage.object.v1.finalized"


def test_attributes_are_eventarcs() -> None:
    attributes = event_attributes(TYPE, RECORD, "2026-01-01T00:00:00+00:00")
    assert attributes == {
        "id": "5-2-finalized",
        "source": "//storage.googleapis.com/projects/_/buckets/b",
        "type": TYPE,
        "subject": "objects/in/é x\n",
        "time": "2026-01-01T00:00:00Z",
        "bucket": "b",
    }


def test_headers_are_ascii_on_one_line() -> None:
    headers = event_headers(event_attributes(TYPE, RECORD, "t"))
    assert headers["ce-subject"] == "objects/in/%C3%A9%20x%0A"
    assert headers["ce-specversion"] == "1.0"
    assert headers["Content-Type"] == "application/json"
    assert all(value.isascii() and value.isprintable() for value in headers.values())
