"""Prompts as SAX cuts them, and streams of whole characters."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from saxflow.cell.tokenizer import StreamText, prompt_ids, scored_ids
from saxflow.sax.tokenizer import IdsTokenizer, SentencePieceTokenizer

IDS = IdsTokenizer(320)
MODEL = Path(__file__).parents[2] / "data/golden/tiny320.model"
PIECES = SentencePieceTokenizer(MODEL.read_bytes(), "tiny320")


def test_a_prompt_starts_with_bos_and_is_cut_on_the_right() -> None:
    assert prompt_ids(IDS, "5,6,7,8", 3) == [1, 5, 6]
    assert prompt_ids(IDS, "", 3) == [1]


def test_a_prompt_ends_before_its_first_eos() -> None:
    assert prompt_ids(IDS, "5,2,7", 10) == [1, 5]


def test_score_counts_the_suffix_and_drops_the_beginning_when_too_long() -> None:
    assert scored_ids(IDS, "4,5", "6,7", 10) == ([1, 4, 5, 6, 7], 2)
    assert scored_ids(IDS, "", "", 10) == ([1], 0)
    assert scored_ids(IDS, "4,5,6", "7,8,9", 4) == ([6, 7, 8, 9], 3)
    assert scored_ids(IDS, "", "7,8,9,10", 4) == ([1, 7, 8, 9], 3)


@given(st.text(min_size=1).map(lambda text: text.encode("utf-8", "ignore").decode()))
def test_a_stream_is_the_whole_text_in_whole_characters(text: str) -> None:
    ids = PIECES.encode(text)
    whole = PIECES.decode(ids)
    stream, given_out = StreamText(PIECES), ""
    for index, token in enumerate(ids):
        given_out += stream.add([token], final=index == len(ids) - 1)
        assert whole.startswith(given_out)
    assert given_out == whole


def test_half_a_character_is_held_back() -> None:
    stream = StreamText(PIECES)
    ids = PIECES.encode("é")
    assert stream.add(ids[:-1], final=False) == ""
    assert stream.add(ids[-1:], final=True) == "é"


def test_a_stream_of_ids_continues_with_a_comma() -> None:
    stream = StreamText(IDS)
    assert [stream.add([4], final=False), stream.add([5, 6], final=True)] == ["4", ",5,6"]
