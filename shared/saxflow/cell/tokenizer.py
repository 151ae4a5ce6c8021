"""Text to token ids and back, whole and piece by piece.

A stream must never show half a UTF-8 character: sentencepiece spells rare characters as byte
pieces, so text is held back while its last bytes may still be the start of a character.

Source: google/saxml v1.1.0 `server/pax/lm/lm_tokenizer.py` (cut on the right, BOS in front, a
prompt ends before the first EOS in it).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from saxflow.errors import InputError
from saxflow.gcp.objects import Objects, Uri
from saxflow.sax.servable import BOS_ID, EOS_ID, IDS_TOKENIZER

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(Protocol):
    """What a model server needs of a vocabulary."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without BOS and EOS.

        Raises:
            InputError: the text cannot be read.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`."""
        ...


class IdsTokenizer:
    """Token ids as decimal text, separated by commas."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab

    def encode(self, text: str) -> list[int]:
        if not text.strip():
            return []
        try:
            ids = [int(part) for part in text.split(",")]
        except ValueError:
            raise InputError(
                f"{text!r} is not token ids separated by commas, as `ids:` takes"
            ) from None
        for token in ids:
            if not 0 <= token < self._vocab:
                raise InputError(f"token id {token} is outside the vocabulary of {self._vocab}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return ",".join(map(str, ids))


class SentencePieceTokenizer:
    """A sentencepiece model such as Llama's `tokenizer.model`."""

    def __init__(self, model: bytes, name: str) -> None:
        """Read the serialized model.

        Raises:
            InputError: `model` is no sentencepiece model; the message gives `name`.
        """
        from sentencepiece import SentencePieceProcessor

        try:
            self._processor = SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise InputError(f"{name} is not a sentencepiece model: {error}") from error

    def encode(self, text: str) -> list[int]:
        return list(self._processor.EncodeAsIds(text))

    def decode(self, ids: Sequence[int]) -> str:
        size = self._processor.GetPieceSize()
        return self._processor.DecodeIds([token for token in ids if token < size])


def load_tokenizer(uri: str, vocab: int) -> Tokenizer:
    """Open the tokenizer that servable.json names.

    Args:
        uri: `ids:`, or a gs://, file:/// or plain path of a sentencepiece model.
        vocab: size of the model's vocabulary.

    Raises:
        InputError: the file is missing or no sentencepiece model.
        NotFoundError: the object is missing.
    """
    if uri == IDS_TOKENIZER:
        return IdsTokenizer(vocab)
    if uri.startswith("gs://"):
        return SentencePieceTokenizer(Objects().read(Uri.parse(uri)).data or b"", uri)
    path = Path(uri.removeprefix("file://"))
    try:
        return SentencePieceTokenizer(path.read_bytes(), uri)
    except OSError as error:
        raise InputError(f"tokenizer {uri} cannot be read: {error.strerror}") from error


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
