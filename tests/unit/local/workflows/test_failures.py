"""Errors of the language are values: maps with message and tags, in the service's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.workflows import failures
from saxflow.local.workflows.failures import Place, WorkflowFailure


@pytest.mark.parametrize(
    ("build", "tag"),
    [
        (failures.type_error, "TypeError"),
        (failures.value_error, "ValueError"),
        (failures.key_error, "KeyError"),
        (failures.index_error, "IndexError"),
        (failures.zero_division, "ZeroDivisionError"),
        (failures.resource_limit, "ResourceLimitError"),
    ],
)
def test_an_error_of_the_language_begins_with_its_tag(
    build: Callable[[str], WorkflowFailure], tag: str
) -> None:
    error = build("as told")
    assert error.payload == {"message": f"{tag}: as told", "tags": [tag]}
    assert str(error) == f"{tag}: as told"


def test_an_error_of_a_call_carries_more() -> None:
    error = failures.failure("HttpError", "not found", "Extra", code=404, body="no")
    assert error.payload == {
        "message": "not found",
        "tags": ["HttpError", "Extra"],
        "code": 404,
        "body": "no",
    }


@pytest.mark.parametrize(
    ("payload", "tags"),
    [
        ({"tags": ["A", 1, "B"]}, ["A", "B"]),
        ({"tags": "A"}, []),
        ({}, []),
        ("text", []),
        (None, []),
    ],
)
def test_tags_are_read_from_whatever_was_raised(payload: Any, tags: list[str]) -> None:
    assert failures.tags_of(payload) == tags


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"message": "m", "code": 5}, "m"),
        ({"message": 5}, 'RuntimeError: {"message": 5}'),
        ("text é", 'RuntimeError: "text é"'),
        (b"bytes", "RuntimeError: \"b'bytes'\""),
        (None, "RuntimeError: null"),
    ],
)
def test_whatever_was_raised_is_described(payload: Any, said: str) -> None:
    assert failures.describe(payload) == said
    assert failures.context_of(payload, None) == said


def test_the_context_names_the_step() -> None:
    assert failures.context_of({"message": "m"}, Place("main", "ask", 7)) == (
        'm\nin step "ask", routine "main", line: 7'
    )


def test_equal_payloads_are_still_two_errors() -> None:
    assert failures.key_error("k") != failures.key_error("k")
