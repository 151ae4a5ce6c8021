"""Vocabularies: ids as text, and sentencepiece models found by URI."""

from __future__ import annotations

from pathlib import Path

import pytest

from saxflow.errors import InputError
from saxflow.sax.tokenizer import IdsTokenizer, SentencePieceTokenizer, Tokenizer, load_tokenizer

IDS = IdsTokenizer(320)
MODEL = Path(__file__).parents[2] / "data/golden/tiny320.model"
PIECES = SentencePieceTokenizer(MODEL.read_bytes(), "tiny320")


@pytest.mark.parametrize(("text", "ids"), [("", []), ("  ", []), ("7", [7]), ("3, 4,5", [3, 4, 5])])
def test_ids_are_read_as_numbers(text: str, ids: list[int]) -> None:
    assert IDS.encode(text) == ids


@pytest.mark.parametrize("text", ["a", "1,,2", "320", "-1", "1.5"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        IDS.encode(text)


@pytest.mark.parametrize("tokenizer", [IDS, PIECES])
def test_what_is_no_unicode_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match=r"cannot be sent: character 2|is not token ids"):
        tokenizer.encode("1\udcff")


def test_ids_are_written_as_they_are_read() -> None:
    assert IDS.decode([3, 4, 5]) == "3,4,5"


def test_ids_beyond_the_pieces_have_no_text() -> None:
    assert PIECES.decode([*PIECES.encode("hi"), 100_000]) == "hi"


def test_tokenizers_are_found_by_uri(tmp_path: Path) -> None:
    assert isinstance(load_tokenizer("ids:", 10), IdsTokenizer)
    assert load_tokenizer(MODEL.as_uri(), 320).decode(PIECES.encode("hi you")) == "hi you"
    with pytest.raises(InputError, match="cannot be read"):
        load_tokenizer(f"file://{tmp_path}/none.model", 320)
    broken = tmp_path / "broken.model"
    broken.write_bytes(b"no model")
    with pytest.raises(InputError, match="not a sentencepiece model"):
        load_tokenizer(str(broken), 320)
    broken.write_bytes(b"")
    with pytest.raises(
        InputError, match=r"broken\.model is empty; it must be a sentencepiece model"
    ):
        load_tokenizer(str(broken), 320)
