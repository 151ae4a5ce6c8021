"""Statuses, and statuses hidden in texts."""

from __future__ import annotations

import pytest

from saxflow.sax.failures import ADMIN_RETRIES, SERVER_RETRIES, refusal


@pytest.mark.parametrize(
    ("details", "code", "words"),
    [
        (
            "model {test llama} already exists: rpc error: code = AlreadyExists desc = AlreadyExists",
            "ALREADY_EXISTS",
            "model {test llama} already exists",
        ),
        (
            "model {test no} not found: rpc error: code = NotFound desc = NotFound",
            "NOT_FOUND",
            "model {test no} not found",
        ),
        (
            "invalid model update: checkpoint path can't be changed: rpc error: code ="
            " InvalidArgument desc = InvalidArgument",
            "INVALID_ARGUMENT",
            "invalid model update: checkpoint path can't be changed",
        ),
        (
            "failed to dial: rpc error: code = Unavailable desc = connection refused\nby peer",
            "UNAVAILABLE",
            "failed to dial: connection refused\nby peer",
        ),
        ("model x has been unpublished", "UNKNOWN", "model x has been unpublished"),
        ("odd: rpc error: code = Strange desc = Strange", "UNKNOWN", "odd"),
        ("", "UNKNOWN", "unknown"),
    ],
)
def test_the_code_in_an_unknown_text_counts(details: str, code: str, words: str) -> None:
    error = refusal("UNKNOWN", details, where="Publish at a:1", retried=ADMIN_RETRIES)
    assert error.code == code
    assert str(error) == f"Publish at a:1: {words}"
    assert not error.retryable, "saxutil goes by the code on the wire"


def test_a_true_code_is_never_replaced() -> None:
    text = "x: rpc error: code = NotFound desc = NotFound"
    assert refusal("INTERNAL", text, where="w", retried=ADMIN_RETRIES).code == "INTERNAL"


@pytest.mark.parametrize(
    ("code", "admin", "server"),
    [
        ("UNAVAILABLE", True, True),
        ("RESOURCE_EXHAUSTED", True, True),
        ("NOT_FOUND", False, True),
        ("INTERNAL", False, False),
        ("INVALID_ARGUMENT", False, False),
        ("DEADLINE_EXCEEDED", False, False),
        ("UNKNOWN", False, False),
    ],
)
def test_what_saxutil_repeats(code: str, *, admin: bool, server: bool) -> None:
    assert refusal(code, "x", where="w", retried=ADMIN_RETRIES).retryable is admin
    assert refusal(code, "x", where="w", retried=SERVER_RETRIES).retryable is server


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("NOT_FOUND", 4),
        ("INVALID_ARGUMENT", 3),
        ("UNAVAILABLE", 6),
        ("DEADLINE_EXCEEDED", 5),
        ("INTERNAL", 1),
    ],
)
def test_exit_codes(code: str, exit_code: int) -> None:
    assert refusal(code, "x", where="w", retried=ADMIN_RETRIES).exit_code == exit_code
