from __future__ import annotations

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from saxflow.local.storage.ranges import Slice, parse_content_range, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Slice(0, 10)),
        ("bytes=0-0", Slice(0, 1, True)),
        ("bytes=2-4", Slice(2, 3, True)),
        ("bytes=7-", Slice(7, 3, True)),
        ("bytes=7-99", Slice(7, 3, True)),
        ("bytes=-3", Slice(7, 3, True)),
        ("bytes=-99", Slice(0, 10, True)),
        ("bytes=-", Slice(0, 10)),
        ("bytes=0-1,3-4", Slice(0, 10)),
        ("items=0-1", Slice(0, 10)),
        (f"bytes=2-{'9' * 5000}", Slice(2, 8, True)),
        (f"bytes=-{'9' * 5000}", Slice(0, 10, True)),
        (f"bytes={'0' * 5000}2-3", Slice(2, 2, True)),
    ],
)
def test_ranges(header: str | None, expected: Slice) -> None:
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5-4", "bytes=-0", f"bytes={'9' * 5000}-"])
def test_unsatisfiable(header: str) -> None:
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        parse_range(header, 10)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_a_range_is_pythons_slice(size: int, first: int, last: int) -> None:
    data = bytes(n % 251 for n in range(size))
    try:
        part = parse_range(f"bytes={first}-{last}", size)
    except exceptions.RequestRangeNotSatisfiable:
        assert first >= size or last < first
        return
    assert data[part.offset : part.offset + part.length] == data[first : last + 1]
    assert part.content_range(size) == f"bytes {first}-{min(last, size - 1)}/{size}"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 0-9/10", (0, 9, 10)),
        ("bytes 0-9/*", (0, 9, None)),
        ("bytes */10", (None, None, 10)),
        ("bytes */*", (None, None, None)),
    ],
)
def test_content_ranges(header: str, expected: tuple[int | None, ...]) -> None:
    span = parse_content_range(header)
    assert (span.start, span.end, span.total) == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes 0-9",
        "bytes a-b/c",
        "0-9/10",
        "bytes -5/10",
        "bytes 5-4/10",
        "bytes 0-9/9",
        "bytes 0-0/" + "9" * 5000,
    ],
)
def test_bad_content_ranges(header: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        parse_content_range(header)
