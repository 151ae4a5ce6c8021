from __future__ import annotations

import pytest
from google.api_core import exceptions

from saxflow.local.storage.preconditions import Preconditions, parse_int64


def test_query_and_headers() -> None:
    query = {"ifGenerationMatch": "0", "ifMetagenerationNotMatch": "3"}
    assert Preconditions.from_query(query.get) == Preconditions(0, None, None, 3)
    assert Preconditions.from_query(query.get, source=True) == Preconditions()
    source = {"ifSourceGenerationMatch": "7"}
    assert Preconditions.from_query(source.get, source=True) == Preconditions(7)
    headers = {"x-goog-if-generation-match": "5", "x-goog-copy-source-if-generation-match": "6"}
    assert Preconditions.from_headers(headers.get) == Preconditions(5)
    assert Preconditions.from_headers(headers.get, source=True) == Preconditions(6)


@pytest.mark.parametrize("text", ["x", "1_0", "+1", " 1", "\u0663", str(2**63), "9" * 5000])
def test_numbers_of_64_bits_only(text: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=r"Invalid value .* for ifGenerationMatch"):
        parse_int64({"ifGenerationMatch": text}.get, "ifGenerationMatch")
    assert parse_int64({"n": str(-(2**63))}.get, "n") == -(2**63)
    assert parse_int64({"n": ""}.get, "n") is None


@pytest.mark.parametrize(
    ("conditions", "generation", "holds"),
    [
        (Preconditions(), 0, True),
        (Preconditions(0), 0, True),
        (Preconditions(0), 5, False),
        (Preconditions(5), 5, True),
        (Preconditions(5), 0, False),
        (Preconditions(None, 0), 5, True),
        (Preconditions(None, 0), 0, False),
        (Preconditions(None, 5), 5, False),
        (Preconditions(None, None, 1), 5, True),
        (Preconditions(None, None, 2), 5, False),
        (Preconditions(None, None, None, 1), 5, False),
    ],
)
def test_writes(conditions: Preconditions, generation: int, holds: bool) -> None:
    metageneration = 1 if generation else 0
    if holds:
        conditions.check(generation, metageneration)
        return
    with pytest.raises(exceptions.PreconditionFailed):
        conditions.check(generation, metageneration)


def test_not_match_when_reading_is_not_modified() -> None:
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        Preconditions(None, 5).check(5, 1, reading=True)
    assert caught.value.code == 304
