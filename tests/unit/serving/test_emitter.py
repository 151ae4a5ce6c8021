"""Text in pieces that are never taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import ProtocolError
from saxflow.serving.emitter import Emitter

TEXT = st.text(alphabet="ab\nSTOP é😀", max_size=30)
STOPS = st.lists(st.text(alphabet="ab\nSTOP é😀", min_size=1, max_size=5), max_size=4)


def run(emitter: Emitter, text: str, sizes: list[int]) -> list[str]:
    """Feed growing prefixes of a text, then the whole."""
    pieces: list[str] = []
    end = 0
    for size in sizes:
        end = min(len(text), end + size)
        pieces.append(emitter.feed(text[:end]))
    pieces.append(emitter.finish(text))
    return pieces


@given(text=TEXT, stops=STOPS, sizes=st.lists(st.integers(1, 4), max_size=30))
def test_pieces_add_up_to_the_text_before_the_stop_that_is_complete_first(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    emitter = Emitter(stops)
    given_out = "".join(run(emitter, text, sizes))
    complete = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert given_out == (text[: min(complete)[1]] if complete else text)
    assert emitter.text == given_out
    assert emitter.stopped == bool(complete)


def test_a_stop_across_pieces_never_shows() -> None:
    emitter = Emitter(["###END"])
    assert emitter.feed("hello ##") == "hello "
    assert emitter.feed("hello ###EN") == ""
    assert emitter.feed("hello ###END and more") == ""
    assert emitter.stopped
    assert emitter.finish("hello ###END and more") == ""


def test_what_only_looked_like_a_stop_comes_out() -> None:
    emitter = Emitter(["STOP"])
    assert emitter.feed("aST") == "a"
    assert emitter.feed("aSTAR") == "STAR"


def test_half_a_character_waits() -> None:
    emitter = Emitter()
    assert emitter.feed("é\ufffd") == "é"
    assert emitter.feed("é😀") == "😀"
    assert emitter.finish("é😀\ufffd") == "\ufffd"


def test_a_text_that_is_taken_back_breaks_the_protocol() -> None:
    emitter = Emitter()
    emitter.feed("abc")
    with pytest.raises(ProtocolError, match="took back"):
        emitter.feed("abd")
