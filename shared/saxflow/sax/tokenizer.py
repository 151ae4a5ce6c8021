"""The vocabulary that servable.json names: text to token ids and back.

Source: google/saxml v1.1.0 `server/pax/lm/lm_tokenizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from saxflow.errors import ConfigurationError, InputError
from saxflow.gcp.objects import Objects, Uri
from saxflow.sax.names import check_text
from saxflow.sax.servable import IDS_TOKENIZER


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
        """Return the ids; raises as `Tokenizer.encode`."""
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
        """Return the ids as text."""
        return ",".join(map(str, ids))


class SentencePieceTokenizer:
    """A sentencepiece model such as Llama's `tokenizer.model`."""

    def __init__(self, model: bytes, name: str) -> None:
        """Read the serialized model.

        Raises:
            InputError: `model` is no sentencepiece model; the message gives `name`.
            ConfigurationError: sentencepiece is not installed.
        """
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ConfigurationError(
                f"tokenizer {name} needs sentencepiece; install saxflow[serve]"
            ) from error
        if not model:
            raise InputError(f"{name} is empty; it must be a sentencepiece model")
        try:
            self._processor = SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise InputError(f"{name} is not a sentencepiece model: {error}") from error

    def encode(self, text: str) -> list[int]:
        """Return the ids; raises as `Tokenizer.encode`."""
        return list(self._processor.EncodeAsIds(check_text(text, "text")))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text; ids beyond the vocabulary's pieces have none."""
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
