import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.conversion import kernels

SIZES = st.integers(1, 1100)
BF16 = np.dtype(ml_dtypes.bfloat16)


def random_array(rows, cols, dtype):
    values = np.random.default_rng(rows * 1000 + cols).standard_normal((rows, cols))
    return values.astype(np.float32).astype(kernels.DTYPES[dtype])


@given(
    SIZES, SIZES, st.sampled_from(sorted(kernels.DTYPES)), st.sampled_from(["float16", "bfloat16"])
)
def test_transposed_and_cast_in_one(rows, cols, source, target):
    values = random_array(rows, cols, source)
    result = np.empty((cols, rows), kernels.DTYPES[target])
    kernels.transpose_into(result, values, kernels.Tile(target))
    expected = values.astype(kernels.DTYPES[target]).T
    assert np.array_equal(result.view(np.uint16), np.ascontiguousarray(expected).view(np.uint16))


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32"])
def test_cast_into_a_strided_view(source):
    values = random_array(5, 7, source)
    whole = np.zeros((5, 10), np.float16)
    kernels.copy_into(whole[:, 2:9], values, kernels.Tile("float16"))
    assert np.array_equal(whole[:, 2:9], values.astype(np.float16))
    assert not whole[:, :2].any()


def test_every_bfloat16_casts_to_float16_as_torch_does():
    import torch

    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    result = np.empty((256, 256), np.float16)
    kernels.copy_into(result, every.view(BF16), kernels.Tile("float16"))
    theirs = torch.from_numpy(every.view(np.int16)).view(torch.bfloat16).to(torch.float16).numpy()
    number = ~np.isnan(theirs)
    assert np.array_equal(result[number].view(np.uint16), theirs[number].view(np.uint16))
    assert np.isnan(result[~number]).all()


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_tile_remembers_what_was_not_finite(source, target, value):
    tile = kernels.Tile(target)
    values = random_array(7, 5, source)
    tile.cast(values)
    assert tile.finite
    values[3, 4] = value
    tile.cast(values)
    tile.cast(values[:2])
    assert not tile.finite


def test_a_tile_remembers_what_overflowed():
    tile = kernels.Tile("float16")
    tile.cast(np.array([[65280.0]], BF16))  # the largest bfloat16 below float16's end
    assert tile.finite
    tile.cast(np.array([[65536.0]], BF16))
    assert not tile.finite


def test_heads_are_interleaved():
    source = np.arange(8, dtype=np.float16).reshape(8, 1)
    result = np.empty_like(source)
    kernels.interleave_heads(result, source, 4)
    assert result[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_one_value_that_is_not_finite_is_seen_among_all_that_are(dtype):
    bits = np.arange(65536, dtype=np.uint16)
    finite = bits[np.isfinite(bits.view(kernels.DTYPES[dtype]).astype(np.float32))]
    assert kernels.all_finite(finite, dtype)
    for odd in sorted(set(range(65536)) - set(finite.tolist()))[::97]:
        assert not kernels.all_finite(np.append(finite, np.uint16(odd)), dtype)
    assert kernels.all_finite(np.empty(0, np.uint16), dtype)


def test_what_is_not_finite_is_counted_and_clamped():
    found = kernels.NotFinite()
    source = np.array([[1.0, np.nan, np.inf, 65519.0, 65520.0, -1e9]], np.float32)
    result = kernels.examine(source, "float16", found)
    assert (found.nan, found.infinite, found.overflow, found.largest) == (1, 1, 2, 1e9)
    assert result[0, [0, 3, 4, 5]].tolist() == [1.0, 65504.0, 65504.0, -65504.0]
