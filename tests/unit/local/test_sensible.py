from __future__ import annotations

from types import SimpleNamespace

import pytest

from saxflow.errors import InputError
from saxflow.local.sensible import check_fields, is_amount, is_count, is_count_or_none, is_text


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None])
def test_what_counts_nothing(value: object) -> None:
    assert not is_count(value)
    assert is_count(1)
    assert is_count_or_none(value) is (value is None)


@pytest.mark.parametrize(
    "value", [-1, True, "1", None, float("inf"), float("nan"), 1e300, 10**300, -0.1]
)
def test_what_is_no_amount(value: object) -> None:
    assert not is_amount(value)
    assert is_amount(0)
    assert is_amount(0.5)


def test_the_first_field_that_makes_no_sense_is_named() -> None:
    armed = SimpleNamespace(name="x", count=0)
    check_fields("rule", armed, {"name": is_text})
    with pytest.raises(InputError, match=r"^rule: count 0 makes no sense$"):
        check_fields("rule", armed, {"name": is_text, "count": is_count})
