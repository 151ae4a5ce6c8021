"""Count the pieces of a sentencepiece model without the sentencepiece library.

A `tokenizer.model` is a protobuf whose field 1 repeats once a piece; the plan needs only how many
there are, because they are the rows of the embedding when params.json says `vocab_size: -1`.

Source: google/sentencepiece src/sentencepiece_model.proto (ModelProto.pieces = 1);
protobuf.dev encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator

from saxflow.errors import WeightsError

_PIECES = 1
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def count_pieces(data: bytes) -> int:
    """Return the number of pieces of a serialized sentencepiece model.

    Raises:
        WeightsError: the bytes are no such model.
    """
    try:
        pieces = sum(1 for field, kind in _fields(data) if (field, kind) == (_PIECES, _LENGTH))
    except (IndexError, ValueError):
        pieces = 0
    if pieces == 0:
        raise WeightsError(
            "the tokenizer is no sentencepiece model; name the tokenizer.model that belongs to the"
            " weights"
        )
    return pieces


def _fields(data: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind == _LENGTH:
            length, at = _varint(data, at)
            at += length
        else:
            at += _FIXED[kind] if kind in _FIXED else _no_such(kind)
        if at > len(data):
            raise ValueError("truncated")
        yield key >> 3, kind


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("varint of more than ten bytes")


def _no_such(kind: int) -> int:
    raise ValueError(f"wire type {kind}")
