"""Move numbers: cast, transpose, interleave, look for what is not finite.

Reading a column of a large array misses the cache at every element, so a tile is first cast into a
small buffer and turned from there. The buffer stays in the second-level cache; its rows are no
power of two long, which would map them all onto the same cache lines; it is tall, so that what it
leaves in the target are long runs. numpy releases the interpreter lock in each call, and calls are
long enough for threads to scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

TILE_ROWS = 1024
TILE_COLS = 264
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


class Tile:
    """Casts rectangles of at most `TILE_ROWS x TILE_COLS` into a buffer of its own; one a thread.

    Args:
        dtype: what is cast to, float16 or bfloat16.

    Attributes:
        finite: whether everything cast since it was last set has been finite afterwards.
    """

    def __init__(self, dtype: str) -> None:
        elements = TILE_ROWS * TILE_COLS
        self.finite = True
        self._dtype = dtype
        self._values = np.empty(elements, np.uint16)
        self._spare = np.empty(elements, np.uint16)
        self._odd = np.empty(elements, np.bool_)

    def cast(self, source: Array) -> Array:
        """Return `[R, C]` in the target's dtype, contiguous, until the next call."""
        bits = self._values[: source.size].reshape(source.shape)
        values = bits.view(DTYPES[self._dtype])
        if self._dtype == "float16" and source.dtype == DTYPES["bfloat16"]:
            self._narrow(bits, source)
        else:
            np.copyto(*_comparable(values, source), casting="unsafe")
            self.finite = self.finite and all_finite(bits, self._dtype)
        return values

    def _narrow(self, target: Array, source: Array) -> None:
        """Cast bfloat16 to float16 by shifting bits; four times as fast as element by element.

        Both keep sign, exponent and mantissa in this order, so where float16 is normal (exponents
        113 to 142 of bfloat16) its bits are bfloat16's, less the difference of the biases, moved
        up by the three bits that the mantissa gains. All others are looked up.
        """
        given, odd = self._spare[: source.size], self._odd[: source.size]
        bits = target.reshape(-1)
        np.copyto(given.reshape(source.shape), source.view(np.uint16))
        np.bitwise_and(given, 0x7FFF, out=bits)
        np.subtract(bits, 113 << 7, out=bits)
        np.greater_equal(bits, (143 - 113) << 7, out=odd)
        places = odd.nonzero()[0]
        exceptions = _float16_of_bfloat16()[given[places]]
        np.left_shift(bits, 3, out=bits)
        np.add(bits, 1 << 10, out=bits)
        np.bitwise_and(given, 0x8000, out=given)
        np.bitwise_or(bits, given, out=bits)
        bits[places] = exceptions
        self.finite = self.finite and all_finite(exceptions, self._dtype)


@cache
def _float16_of_bfloat16() -> Array:
    """Return float16 bits by bfloat16 bits, `[65536]`, rounded to nearest, ties to even."""
    with np.errstate(over="ignore", invalid="ignore"):
        every = np.arange(1 << 16, dtype=np.uint16).view(DTYPES["bfloat16"])
        return every.astype(np.float16).view(np.uint16)


def copy_into(target: Array, source: Array, tile: Tile) -> None:
    """Copy `[R, C] -> [R, C]`, converting elements to the dtype of both target and tile."""
    bits = target.view(np.uint16)
    for rows, cols in _rectangles(source):
        np.copyto(bits[rows, cols], tile.cast(source[rows, cols]).view(np.uint16))


def transpose_into(target: Array, source: Array, tile: Tile) -> None:
    """Copy `[R, C] -> [C, R]`, converting elements to the dtype of both target and tile."""
    bits = target.view(np.uint16)
    for rows, cols in _rectangles(source):
        np.copyto(bits[cols, rows], tile.cast(source[rows, cols]).view(np.uint16).T)


def _rectangles(source: Array) -> Iterator[tuple[slice, slice]]:
    """Yield what a tile holds at once, together the whole of `[R, C]`."""
    rows, cols = source.shape
    for top in range(0, rows, TILE_ROWS):
        for left in range(0, cols, TILE_COLS):
            yield slice(top, min(top + TILE_ROWS, rows)), slice(left, min(left + TILE_COLS, cols))


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
