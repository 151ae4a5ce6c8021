"""Prompts as SAX cuts them, and text given out piece by piece.

A stream must never show half a UTF-8 character: sentencepiece spells rare characters as byte
pieces, so text is held back while its last bytes may still be the start of a character.

Source: google/saxml v1.1.0 `server/pax/lm/lm_tokenizer.py` (cut on the right, BOS in front, a
prompt ends before the first EOS in it).
"""

from __future__ import annotations

from collections.abc import Sequence

from saxflow.sax.servable import BOS_ID, EOS_ID
from saxflow.sax.tokenizer import Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def prompt_ids(tokenizer: Tokenizer, text: str, input_len: int) -> list[int]:
    """Return BOS and the ids of a prompt, `input_len` at most, cut on the right."""
    return [BOS_ID, *_until_eos(tokenizer.encode(text)[: input_len - 1])]


def scored_ids(
    tokenizer: Tokenizer, prefix: str, suffix: str, input_len: int
) -> tuple[list[int], int]:
    """Return the ids Score runs over, BOS first, and how many of them, at the end, count.

    A sequence longer than `input_len` loses its beginning.
    """
    before = prompt_ids(tokenizer, prefix, input_len)
    counted = _until_eos(tokenizer.encode(suffix)[: input_len - 1])
    ids = [*before, *counted][-input_len:]
    return ids, min(len(counted), len(ids) - 1)


def _until_eos(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS_ID)] if EOS_ID in ids else ids


class StreamText:
    """The text of one growing answer, given out in whole characters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = ""

    def add(self, ids: Sequence[int], *, final: bool) -> str:
        """Take new ids and return the text that is certain now and was not given out before.

        Args:
            final: no more ids follow; what was held back comes out.
        """
        self._ids.extend(ids)
        text = self._tokenizer.decode(self._ids)
        certain = text if final else text.rstrip(REPLACEMENT)
        if not certain.startswith(self._given):
            return ""
        new = certain[len(self._given) :]
        self._given = certain
        return new
