"""Words and codes of refusals."""

from __future__ import annotations

from saxflow.cell.refusals import admin_refusal, refusal


def test_an_admin_hides_the_code_in_the_text() -> None:
    error = admin_refusal("model {test no} not found", "NOT_FOUND")
    assert str(error) == "model {test no} not found: rpc error: code = NotFound desc = NotFound"
    assert error.code == "NOT_FOUND"


def test_a_server_says_what_may_be_repeated() -> None:
    assert refusal("x", "NOT_FOUND").retryable
    assert refusal("x", "RESOURCE_EXHAUSTED").retryable
    assert not refusal("x", "INVALID_ARGUMENT").retryable
