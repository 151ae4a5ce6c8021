from __future__ import annotations

from typing import Any

import pytest

from saxflow.local.workflows.bodies import decode_body, default_content_type, encode_body
from saxflow.local.workflows.failures import WorkflowFailure

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("value", "content_type", "sent"),
    [
        ({"a": "ü"}, "application/json; charset=utf-8", '{"a":"ü"}'.encode()),
        ("text", "application/json", b'"text"'),
        (5, "Application/Problem+JSON", b"5"),
        ("ü", "text/plain", "ü".encode()),
        (b"\xff", "application/json", b"\xff"),
        ({"a": "b c", "n": 5}, FORM, b"a=b+c&n=5"),
    ],
)
def test_values_are_sent_by_their_type(value: Any, content_type: str, sent: bytes) -> None:
    assert encode_body(value, content_type) == sent


@pytest.mark.parametrize(("value", "content_type"), [([1], "text/plain"), (5, FORM)])
def test_what_has_no_form_of_a_type_is_refused(value: Any, content_type: str) -> None:
    with pytest.raises(WorkflowFailure, match=f"cannot be sent as {content_type}"):
        encode_body(value, content_type)


def test_values_are_json_and_bytes_are_not_by_default() -> None:
    assert default_content_type({"a": 1}).startswith("application/json")
    assert default_content_type(b"") == "application/octet-stream"


@pytest.mark.parametrize(
    ("body", "content_type", "value"),
    [
        (b'{"a": 1}', "application/json; charset=utf-8", {"a": 1}),
        (b"[1]", "application/vnd.api+json", [1]),
        (b"{broken", "application/json", "{broken"),
        (b'"\xed\xa0\x80"', "application/json", '"\ufffd\ufffd\ufffd"'),
        (b"", "application/json", None),
        (b"h\xff", "TEXT/html", "h\ufffd"),
        (b"\x00", "image/png", b"\x00"),
        (b"", "", b""),
    ],
)
def test_what_comes_is_read_by_its_type(body: bytes, content_type: str, value: Any) -> None:
    assert decode_body(body, content_type) == value
