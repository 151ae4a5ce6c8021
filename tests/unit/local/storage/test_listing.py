from __future__ import annotations

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.storage.listing import PAGE_LIMIT, Query, page_limit, page_of

NAMES = st.lists(st.text("ab/\U0010ffff", min_size=1, max_size=5), unique=True, max_size=25).map(
    sorted
)
PREFIXES = st.sampled_from(["", "a", "a/", "b", "/", "ab"])


def everything(names: list[str], query: Query) -> tuple[list[str], list[str]]:
    """Follow the page tokens to the end."""
    found: list[str] = []
    prefixes: list[str] = []
    token = ""
    while True:
        page = page_of(names, Query(**{**vars(query), "page_token": token}))
        assert len(page.names) + len(page.prefixes) <= query.limit
        found += page.names
        prefixes += page.prefixes
        token = page.next_token
        if not token:
            return found, prefixes


@given(NAMES, PREFIXES, st.integers(1, 7))
def test_pages_hold_every_name_once_in_order(names: list[str], prefix: str, limit: int) -> None:
    found, _ = everything(names, Query(prefix=prefix, limit=limit))
    assert found == [name for name in names if name.startswith(prefix)]


@given(NAMES, PREFIXES, st.integers(1, 7))
def test_delimiters_fold_what_lies_below(names: list[str], prefix: str, limit: int) -> None:
    found, prefixes = everything(names, Query(prefix=prefix, delimiter="/", limit=limit))
    below = [name for name in names if name.startswith(prefix)]
    rest = {name: name[len(prefix) :] for name in below}
    assert found == [name for name in below if "/" not in rest[name]]
    folded = {prefix + rest[name].split("/")[0] + "/" for name in below if "/" in rest[name]}
    assert prefixes == sorted(folded)


@given(NAMES, st.text("ab/", max_size=3), st.text("ab/", max_size=3))
def test_offsets(names: list[str], start: str, end: str) -> None:
    found, _ = everything(names, Query(start_offset=start, end_offset=end))
    assert found == [name for name in names if name >= start and (not end or name < end)]


def test_trailing_delimiters_on_demand() -> None:
    names = ["a/", "a/b"]
    page = page_of(names, Query(delimiter="/", include_trailing_delimiter=True))
    assert (page.names, page.prefixes) == (["a/"], ["a/"])


@pytest.mark.parametrize("token", ["!", "a", "//8="])
def test_foreign_tokens(token: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="page token"):
        page_of(["a"], Query(page_token=token))


def test_sizes_of_pages() -> None:
    assert page_limit(None, "maxResults") == PAGE_LIMIT
    assert [page_limit(n, "n") for n in (0, 5, 2**62)] == [0, 5, PAGE_LIMIT]
    with pytest.raises(exceptions.InvalidArgument, match="max-keys is -1; it cannot be negative"):
        page_limit(-1, "max-keys")


def test_a_prefix_is_named_once_whatever_comes_between_two_pages() -> None:
    first = page_of(["d/1", "e"], Query(delimiter="/", limit=1))
    later = ["d/", "d/1", "d/2", "d/\U0010ffff", "e"]
    rest = page_of(later, Query(delimiter="/", page_token=first.next_token))
    assert (first.prefixes, rest.prefixes, rest.names) == (["d/"], [], ["e"])
