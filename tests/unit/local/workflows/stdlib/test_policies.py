from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from saxflow.local.workflows import WorkflowFailure
from saxflow.local.workflows.stdlib.policies import (
    CONSTANTS,
    DEFAULT_BACKOFF,
    DEFAULT_MAX_RETRIES,
    FUNCTIONS,
    delays,
    number_of,
    retry_idempotent,
    retry_non_idempotent,
)
from saxflow.local.workflows.values import FunctionRef


@pytest.mark.parametrize(
    ("error", "idempotent", "any_call"),
    [
        ({"tags": ["HttpError"], "code": 429}, True, True),
        ({"tags": ["HttpError"], "code": 503}, True, True),
        ({"tags": ["HttpError"], "code": 502}, True, False),
        ({"tags": ["HttpError"], "code": 504}, True, False),
        ({"tags": ["HttpError"], "code": 500}, False, False),
        ({"tags": ["HttpError"], "code": 404}, False, False),
        ({"tags": ["HttpError"], "code": "503"}, False, False),
        ({"tags": ["HttpError"]}, False, False),
        ({"tags": ["HttpError", "ConnectionFailedError"], "code": 404}, True, True),
        ({"tags": ["ConnectionFailedError"]}, True, True),
        ({"tags": ["ConnectionError"]}, True, False),
        ({"tags": ["TimeoutError"]}, True, False),
        ({"tags": ["OperationError"], "code": 503}, False, False),
        ({"tags": "HttpError", "code": 503}, False, False),
        ({"tags": [5, None], "code": 503}, False, False),
        ({"code": 503}, False, False),
        ("ConnectionError", False, False),
        (None, False, False),
        ([], False, False),
    ],
)
def test_which_errors_are_repeated(error: Any, idempotent: bool, any_call: bool) -> None:
    assert (retry_idempotent(error), retry_non_idempotent(error)) == (idempotent, any_call)
    assert FUNCTIONS["http.default_retry_predicate"].apply(error) is idempotent
    assert FUNCTIONS["http.default_retry_predicate_non_idempotent"].apply(error) is any_call


def test_always_and_never() -> None:
    for error in ({}, None, {"tags": ["ValueError"]}):
        assert FUNCTIONS["retry.always"].apply(error) is True
        assert FUNCTIONS["retry.never"].apply(error) is False


def test_codes_of_a_strange_type_are_no_failure() -> None:
    for code in ([503], {"a": 1}, 503.0):
        error = {"tags": ["HttpError"], "code": code}
        assert retry_idempotent(error) is (code == 503.0)


def test_policies_name_their_predicates() -> None:
    for name in ("http.default_retry", "http.default_retry_non_idempotent"):
        policy = CONSTANTS[name]
        assert policy["predicate"].name in FUNCTIONS
        assert (policy["max_retries"], policy["backoff"]) == (DEFAULT_MAX_RETRIES, DEFAULT_BACKOFF)
    assert CONSTANTS["http.default_retry"]["predicate"] == FunctionRef(
        "http.default_retry_predicate"
    )
    assert CONSTANTS["retry.default_backoff"] == {
        "initial_delay": 1,
        "max_delay": 60,
        "multiplier": 1.25,
    }
    assert CONSTANTS["retry.always"] == FunctionRef("retry.always")


def test_delays_grow_to_their_limit() -> None:
    backoff = {"initial_delay": 1, "max_delay": 5, "multiplier": 2}
    assert list(islice(delays(backoff), 4)) == [1, 2, 4, 5]
    assert list(islice(delays({}), 2)) == [1, 1.25]
    for bad in (-1, float("nan"), float("inf"), "1"):
        with pytest.raises(WorkflowFailure):
            next(delays({"initial_delay": bad}))


def test_numbers_of_a_policy_have_defaults_and_bounds() -> None:
    assert number_of({"timeout": 5}, "timeout", 1800) == 5.0
    assert number_of({}, "timeout", 1800) == 1800.0
    with pytest.raises(WorkflowFailure, match="a number from 0 up is needed"):
        number_of({"timeout": -1}, "timeout", 1800)
