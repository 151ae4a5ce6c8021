"""What `saxflow convert` writes, the real paxml restores bit for bit and praxis computes right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.pax, pytest.mark.slow, pytest.mark.timeout(1200)]

ATOL = 2e-5
NAMES = ["golden", "tiny_llama", "mha_1_shard", "gqa_4_2_2_shards", "gqa_8_4_4_shards"]
LAYOUTS = [
    ("float16", 1, "none"),
    ("bfloat16", 4, "none"),
    ("float16", 3, "zstd"),
    ("bfloat16", 2, "blosc"),
]
"""dtype, mesh that decides the chunks (3 leaves ragged ones), compressor."""


@pytest.mark.parametrize(("dtype", "mesh", "compressor"), LAYOUTS)
@pytest.mark.parametrize("name", ["golden", "mha_1_shard", "gqa_4_2_2_shards", "gqa_8_4_4_shards"])
def test_every_bit_is_restored(
    pax: Any,
    describe: Any,
    sources: Any,
    converter: Any,
    reference: Any,
    name: str,
    dtype: str,
    mesh: int,
    compressor: str,
) -> None:
    source = sources[name]
    checkpoint = converter.convert(source, dtype, mesh, compressor)
    restored = pax.restore(checkpoint, describe(source.dims), stored_dtype=dtype)
    expected = reference.variables(source, dtype)
    assert restored.keys() == expected.keys()
    for variable, bits in expected.items():
        np.testing.assert_array_equal(restored[variable], bits, err_msg=variable)


@pytest.mark.parametrize("name", ["golden", "gqa_8_4_4_shards", "gqa_4_2_2_shards"])
def test_a_slice_of_four_restores_its_shares(
    pax: Any, describe: Any, sources: Any, converter: Any, reference: Any, name: str
) -> None:
    source = sources[name]
    checkpoint = converter.convert(source, "float16", 4, "none")
    restored = pax.restore(checkpoint, describe(source.dims, 4), stored_dtype="float16")
    for variable, bits in reference.variables(source, "float16").items():
        np.testing.assert_array_equal(restored[variable], bits, err_msg=variable)


@pytest.mark.parametrize(("dtype", "mesh"), [("float16", 1), ("bfloat16", 4)])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_metas(
    pax: Any,
    describe: Any,
    sources: Any,
    converter: Any,
    reference: Any,
    token_ids: list[list[int]],
    name: str,
    dtype: str,
    mesh: int,
) -> None:
    source = sources[name]
    checkpoint = converter.convert(source, dtype, mesh, "none")
    logits = pax.restore(checkpoint, describe(source.dims, mesh), ids=token_ids)["logits"]
    expected = reference.logits(source, dtype, np.asarray(token_ids))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=ATOL)


def test_golden_comes_out_as_the_real_converter_wrote_it(
    pax: Any, describe: Any, sources: Any, converter: Any, golden: Path
) -> None:
    source = sources["golden"]
    theirs = golden / "tiny_mha_2shards/pax/checkpoint_00000000"
    ours = converter.convert(source, "float16", 1, "none")
    restored = [
        pax.restore(step, describe(source.dims), stored_dtype="float16") for step in (theirs, ours)
    ]
    assert restored[0].keys() == restored[1].keys()
    for variable, bits in restored[0].items():
        np.testing.assert_array_equal(restored[1][variable], bits, err_msg=variable)
