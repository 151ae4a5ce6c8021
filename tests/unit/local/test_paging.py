"""Pages of list calls."""

from __future__ import annotations

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.paging import page


@given(st.lists(st.integers(), max_size=50), st.integers(min_value=1, max_value=60))
def test_pages_add_up_to_the_list(items, size):
    seen, token = page(items, size, "")
    while token:
        more, token = page(items, size, token)
        assert 0 < len(more) <= size
        seen += more
    assert seen == items


@pytest.mark.parametrize(
    ("size", "token"), [(-1, ""), (1, "x"), (1, "-1"), (1, "9" * 5000), (1, "\u0663")]
)
def test_foreign_tokens_and_negative_sizes_are_refused(size, token):
    with pytest.raises(exceptions.InvalidArgument):
        page([1], size, token)
