"""What every source format is reduced to: matrices made of rectangles of bytes in files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from saxflow.weights import Dimensions, SourceFile

ELEMENT_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
LAYER = re.compile(r"layers\.(\d{1,9})\.(.+)", re.ASCII)


@dataclass(frozen=True)
class Part:
    """A rectangle of a matrix, stored row by row in one file.

    Args:
        file: name below the source.
        start: byte of its first element.
        row_bytes: distance between two rows.
        rows, cols: its size.
        dtype: of the stored elements.
        row, col: its place in the matrix.
    """

    file: str
    start: int
    row_bytes: int
    rows: int
    cols: int
    dtype: str
    row: int = 0
    col: int = 0


@dataclass(frozen=True)
class Matrix:
    """One tensor of the model, put together over all shards of the source.

    Args:
        name: Meta's name, for example `layers.0.attention.wq.weight`.
        rows, cols: `[rows, cols]`; a vector is `[1, cols]`.
        parts: rectangles that cover it.
        replicas: groups of parts that must hold the same bytes, one of which is in `parts`.
        rotary_head: when positive, each run of so many rows is one head in Hugging Face's
            half-split order and must be interleaved.
    """

    name: str
    rows: int
    cols: int
    parts: tuple[Part, ...]
    replicas: tuple[tuple[Part, ...], ...] = ()
    rotary_head: int = 0


@dataclass(frozen=True)
class Source:
    """An indexed source: everything about it but the values.

    Args:
        format: `meta` or `safetensors`.
        shards: number of tensor files.
        dimensions: of the model, from tensors and params.json or config.json in agreement.
        matrices: by Meta's names.
        files: what the fingerprint covers.
        params: the dimensions' document as read.
        ignored: tensors that a Pax checkpoint has no place for.
    """

    format: str
    shards: int
    dimensions: Dimensions
    matrices: Mapping[str, Matrix]
    files: tuple[SourceFile, ...]
    params: Mapping[str, object]
    ignored: tuple[str, ...] = ()

    @property
    def bytes_total(self) -> int:
        """Bytes of all tensors that are read once."""
        parts = (part for matrix in self.matrices.values() for part in matrix.parts)
        return sum(part.rows * part.cols * ELEMENT_BYTES[part.dtype] for part in parts)


def role_of(tensor: str) -> str:
    """Return a tensor's name without its layer, for example `attention.wq.weight`."""
    layer = LAYER.fullmatch(tensor)
    return layer[2] if layer else tensor


def tensor_shape(name: str, dims: Dimensions) -> tuple[int, int]:
    """Return the whole tensor's `[rows, cols]`."""
    width, attention = dims.model_dim, dims.heads * dims.head_dim
    key_value = dims.kv_heads * dims.head_dim
    return {
        "tok_embeddings.weight": (dims.vocab, width),
        "output.weight": (dims.vocab, width),
        "attention.wq.weight": (attention, width),
        "attention.wk.weight": (key_value, width),
        "attention.wv.weight": (key_value, width),
        "attention.wo.weight": (width, attention),
        "feed_forward.w1.weight": (dims.hidden_dim, width),
        "feed_forward.w2.weight": (width, dims.hidden_dim),
        "feed_forward.w3.weight": (dims.hidden_dim, width),
    }.get(role_of(name), (1, width))
