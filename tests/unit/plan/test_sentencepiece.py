"""Pieces are counted as the sentencepiece library counts them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import WeightsError
from saxflow.plan.sentencepiece import count_pieces

MODEL = Path(__file__).parents[2] / "data/golden/tiny320.model"


def test_the_golden_tokenizer() -> None:
    assert count_pieces(MODEL.read_bytes()) == 320


def test_other_fields_are_passed_over() -> None:
    varint = b"\x10\xac\x02"
    fixed32 = b"\x1d1234"
    fixed64 = b"\x2112345678"
    assert (
        count_pieces(varint + b"\x0a\x01x" + fixed32 + b"\x12\x02yy" + fixed64 + b"\x0a\x00") == 2
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"not a model", b"\x0a\x7fshort", b"\x0b", b"\x80" * 20, b"\x12\x01x", b"\x0a\x01x\x0d1"],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(WeightsError, match="no sentencepiece model"):
        count_pieces(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_counted_or_refused(data: bytes) -> None:
    try:
        assert count_pieces(data) > 0
    except WeightsError:
        return
