"""Move numbers: cast, transpose, interleave, look for what is not finite.

The transpose is the cost of a conversion. Reading a column of a large array misses the cache at
every element, so a tile is first cast into a small buffer whose rows are padded (a power-of-two
stride would map all rows onto the same cache lines) and turned from there: 0.17 GB/s becomes 1 to
1.5 GB/s per core, and most of that is the cast. numpy releases the interpreter lock meanwhile, so threads scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

TILE_ROWS = 256
TILE_COLS = 128
TILE_PADDING = 16
DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}
_LARGEST_FINITE_BITS = {"float16": 0x7BFF, "bfloat16": 0x7F7F}
Array = NDArray[Any]


@dataclass
class NotFinite:
    """What a careful pass over values found.

    Args:
        nan: NaNs in the source.
        infinite: infinities in the source.
        overflow: finite values that the target dtype cannot hold.
        largest: greatest magnitude among finite values.
    """

    nan: int = 0
    infinite: int = 0
    overflow: int = 0
    largest: float = 0.0


def tile_buffer(dtype: str) -> Array:
    """Return the buffer that `transpose_into` works through."""
    return np.empty((TILE_ROWS, TILE_COLS + TILE_PADDING), DTYPES[dtype])


def cast_into(target: Array, source: Array) -> None:
    """Copy `[R, C] -> [R, C]`, converting elements where dtypes differ."""
    target, source = _comparable(target, source)
    np.copyto(target, source, casting="unsafe")


def transpose_into(target: Array, source: Array, tile: Array) -> None:
    """Copy `[R, C] -> [C, R]`, converting elements where dtypes differ.

    Args:
        tile: from `tile_buffer` of the target's dtype.
    """
    rows, cols = source.shape
    bits = target.view(np.uint16)
    tile_bits = tile.view(np.uint16)
    for top in range(0, rows, TILE_ROWS):
        high = min(TILE_ROWS, rows - top)
        for left in range(0, cols, TILE_COLS):
            wide = min(TILE_COLS, cols - left)
            cast_into(tile[:high, :wide], source[top : top + high, left : left + wide])
            np.copyto(bits[left : left + wide, top : top + high], tile_bits[:high, :wide].T)


def interleave_heads(target: Array, source: Array, head_dim: int) -> None:
    """Undo Hugging Face's rotary order, `[n*h, C] -> [n*h, C]`.

    Within each head row `t * h/2 + j` goes to row `2 * j + t`, t in {0, 1}.

    Source: huggingface/transformers models/llama/convert_llama_weights_to_hf.py, `permute`.
    """
    rows, cols = source.shape
    heads = rows // head_dim
    split = source.reshape(heads, 2, head_dim // 2, cols)
    target, split = _comparable(target.reshape(heads, head_dim // 2, 2, cols), split)
    np.copyto(target, split.swapaxes(1, 2))


def all_finite(values: Array, dtype: str) -> bool:
    """Return whether no element of a float16 or bfloat16 array is NaN or infinite.

    NaN and infinity have the greatest bit patterns of their sign, so two maxima tell.
    """
    if values.size == 0:
        return True
    limit = _LARGEST_FINITE_BITS[dtype]
    positive = int(values.view(np.int16).max())
    negative = int(values.view(np.uint16).max())
    return positive <= limit and negative <= (limit | 0x8000)


def examine(source: Array, dtype: str, found: NotFinite) -> Array:
    """Count what is not finite in `source` or would not be in `dtype`, and return it clamped.

    Returns:
        The values in float32, finite ones within the range of `dtype`.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        values = source.astype(np.float32)
    largest = float(ml_dtypes.finfo(DTYPES[dtype]).max)
    finite = np.isfinite(values)
    found.nan += int(np.isnan(values).sum())
    found.infinite += int(np.isinf(values).sum())
    with np.errstate(over="ignore"):
        became_infinite = ~np.isfinite(values.astype(DTYPES[dtype])) & finite
    found.overflow += int(became_infinite.sum())
    if finite.any():
        found.largest = max(found.largest, float(np.abs(values[finite]).max()))
    return np.where(finite, np.clip(values, -largest, largest), values)


def _comparable(target: Array, source: Array) -> tuple[Array, Array]:
    """View both as integers when no conversion is needed: bfloat16 has no fast copy of its own."""
    if target.dtype != source.dtype:
        return target, source
    bits = np.dtype(f"u{target.dtype.itemsize}")
    return target.view(bits), source.view(bits)
