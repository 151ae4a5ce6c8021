"""The harness itself: it reproduces what the real SAX model said, and it can say no."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.pax, pytest.mark.slow, pytest.mark.timeout(1200)]

ATOL = 2e-5
BLOCK = "mdl_vars.params.lm.transformer.x_layers_0"


@pytest.fixture
def recorded(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "tiny_mha_2shards/logits.npz") as data:
        return {name: data[name] for name in data.files}


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    """Return a copy, free to be spoiled, of the checkpoint that SAX's own converter wrote."""
    original = golden / "tiny_mha_2shards/pax/checkpoint_00000000"
    return Path(shutil.copytree(original, tmp_path / "checkpoint_00000000"))


def _logits(pax: Any, describe: Any, sources: Any, checkpoint: Path, ids: np.ndarray) -> np.ndarray:
    servable = describe(sources["golden"].dims)
    return pax.restore(checkpoint, servable, ids=ids.tolist())["logits"]


def _swap(checkpoint: Path, first: str, second: str) -> None:
    state = checkpoint / "state"
    (state / first).rename(state / "aside")
    (state / second).rename(state / first)
    (state / "aside").rename(state / second)


@pytest.mark.parametrize("mesh", [1, 4])
def test_it_reproduces_the_real_sax_model(
    pax: Any,
    describe: Any,
    sources: Any,
    checkpoint: Path,
    recorded: dict[str, np.ndarray],
    mesh: int,
) -> None:
    servable = describe(sources["golden"].dims, mesh)
    logits = pax.restore(checkpoint, servable, ids=recorded["ids"].tolist())["logits"]
    np.testing.assert_allclose(logits, recorded["sax_f32"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(logits, recorded["meta_ref"], rtol=0, atol=ATOL)


def test_bfloat16_stays_within_what_was_recorded(
    pax: Any, describe: Any, sources: Any, checkpoint: Path, recorded: dict[str, np.ndarray]
) -> None:
    servable = describe(sources["golden"].dims, compute_dtype="bfloat16")
    logits = pax.restore(checkpoint, servable, ids=recorded["ids"].tolist())["logits"]
    np.testing.assert_allclose(logits, recorded["sax_bf16"], rtol=0, atol=0.25)


def test_swapped_norms_are_noticed(
    pax: Any, describe: Any, sources: Any, checkpoint: Path, recorded: dict[str, np.ndarray]
) -> None:
    _swap(checkpoint, f"{BLOCK}.layer_norm.scale", f"{BLOCK}.ff_layer.layer_norm.scale")
    logits = _logits(pax, describe, sources, checkpoint, recorded["ids"])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        np.testing.assert_allclose(logits, recorded["sax_f32"], rtol=0, atol=ATOL)


def test_the_tutorials_edit_of_line_169_is_noticed(
    pax: Any, describe: Any, sources: Any, checkpoint: Path, recorded: dict[str, np.ndarray]
) -> None:
    final = checkpoint / "state/mdl_vars.params.lm.final_ln.scale/0"
    for norm in checkpoint.glob("state/*.x_layers_*.layer_norm.scale/0"):
        if ".ff_layer." not in str(norm):
            shutil.copy(final, norm)
    logits = _logits(pax, describe, sources, checkpoint, recorded["ids"])
    assert np.abs(logits - recorded["sax_f32"]).max() > 1


def test_pax_reads_a_missing_chunk_as_zeros(
    pax: Any, describe: Any, sources: Any, checkpoint: Path
) -> None:
    """Why saxflow accounts for every object before it writes a marker."""
    (checkpoint / "state/mdl_vars.params.lm.final_ln.scale/0").unlink()
    restored = pax.restore(checkpoint, describe(sources["golden"].dims), stored_dtype="float16")
    assert not restored["params.lm.final_ln.scale"].any()


def test_pax_refuses_a_missing_variable(
    pax: Any, describe: Any, sources: Any, checkpoint: Path
) -> None:
    shutil.rmtree(checkpoint / "state/mdl_vars.params.lm.final_ln.scale")
    with pytest.raises(AssertionError, match="final_ln"):
        pax.restore(checkpoint, describe(sources["golden"].dims), stored_dtype="float16")
