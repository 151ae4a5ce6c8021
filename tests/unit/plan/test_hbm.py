"""Memory by chip: known sizes fit where SAX serves them, and nowhere smaller."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.catalog import SIZES, SLICES
from saxflow.plan import hbm
from saxflow.plan.hbm import Load
from saxflow.weights import Dimensions

USUAL = Load(batch=1, input_len=1024, max_new_tokens=512)


@pytest.mark.parametrize(
    ("size", "smallest"),
    [
        ("7b", "v5litepod-4"),
        ("13b", "v5litepod-4"),
        ("34b", "v5litepod-8"),
        ("70b", "v5litepod-16"),
    ],
)
def test_smallest_slices(size: str, smallest: str) -> None:
    found = hbm.smallest_slice(SIZES[size].dimensions, USUAL)
    assert found is not None
    assert found.accelerator_type == smallest


@pytest.mark.parametrize("size", SIZES.values())
def test_defaults_fit(size: object) -> None:
    entry = SIZES[getattr(size, "name")]  # noqa: B009
    assert hbm.budget(entry.dimensions, SLICES[entry.accelerator], USUAL).fits


def test_7b_by_hand() -> None:
    found = hbm.budget(SIZES["7b"].dimensions, SLICES["v5litepod-4"], USUAL)
    norms = (2 * 32 + 1) * 4096 * 2
    sharded = SIZES["7b"].dimensions.parameters * 2 - norms
    assert found.weights_bytes == sharded // 4 + norms
    assert found.cache_bytes == 2 * 32 * 32 * 128 * 2 * 1536 // 4
    assert found.rows()["needed"] == sum(list(found.rows().values())[:4])


def test_kv_heads_are_padded_to_the_chips() -> None:
    dims = SIZES["70b"].dimensions
    on_8, on_16 = (hbm.budget(dims, SLICES[f"v5litepod-{n}"], USUAL).cache_bytes for n in (8, 16))
    assert on_8 == on_16


def test_refusals_have_numbers_and_a_remedy() -> None:
    dims = SIZES["70b"].dimensions
    message = hbm.refusal(hbm.budget(dims, SLICES["v5litepod-8"], USUAL), dims, USUAL)
    assert message == (
        "v5litepod-8 is too small: a chip needs 19.4 GB and has 16.0 GB (weights 17.2 GB,"
        " KV cache 0.1 GB, activations 0.1 GB, runtime 2.0 GB; 1 x 1536 tokens on 8 chips);"
        " use v5litepod-16, or lower serve.batchSize, maxInputTokens or maxNewTokens"
    )


def test_what_fits_nowhere() -> None:
    dims, load = SIZES["70b"].dimensions, Load(256, 32768, 32768)
    assert hbm.smallest_slice(dims, load) is None
    message = hbm.refusal(hbm.budget(dims, SLICES["v5litepod-32"], load), dims, load)
    assert message is not None
    assert "no slice is large enough" in message


def test_what_fits_is_not_refused() -> None:
    dims = SIZES["7b"].dimensions
    assert hbm.refusal(hbm.budget(dims, SLICES["v5litepod-4"], USUAL), dims, USUAL) is None


@given(
    st.integers(1, 64), st.integers(2, 8192), st.integers(1, 8192), st.sampled_from(list(SLICES))
)
def test_more_work_never_takes_less(batch: int, input_len: int, new: int, name: str) -> None:
    dims, entry = SIZES["13b"].dimensions, SLICES[name]
    load = Load(batch, input_len, new)
    base = hbm.budget(dims, entry, load).needed_bytes
    for more in (
        replace(load, batch=batch + 1),
        replace(load, input_len=input_len + 1),
        replace(load, max_new_tokens=new + 1),
    ):
        assert hbm.budget(dims, entry, more).needed_bytes > base


def test_tiny_fits_one_chip(tiny: Dimensions) -> None:
    found = hbm.smallest_slice(tiny, USUAL)
    assert found is not None
    assert found.chips == 1
