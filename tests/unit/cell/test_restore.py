"""Reading a Pax checkpoint, and refusing what Pax would read as zeros."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from saxflow.cell import restore
from saxflow.errors import WeightsError
from saxflow.weights import Dimensions

GOLDEN = Dimensions(2, 64, 4, 4, 16, 192, 320)
PREFIX = "mdl_vars.params.lm"


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(np.array(jax.devices()[:1]), ("mdl",))


def test_abstract_foretells_what_load_returns(checkpoint: str, mesh: Mesh) -> None:
    weights = restore.load(checkpoint, GOLDEN, "float32", mesh)
    promised = restore.abstract(GOLDEN, "float32", mesh)
    for held, struct in zip(jax.tree.leaves(weights), jax.tree.leaves(promised), strict=True):
        assert (held.shape, held.dtype) == (struct.shape, struct.dtype)


def test_output_projection_is_turned_for_multiplication_from_the_left(
    gqa: Dimensions, pax_checkpoint: Callable[..., str], mesh: Mesh
) -> None:
    post = np.arange(48 * 6 * 8, dtype=np.float16).reshape(48, 6, 8)
    name = "transformer.x_layers_0.self_attention.post.w"
    weights = restore.load(pax_checkpoint(gqa, **{name: post}), gqa, "float32", mesh)
    np.testing.assert_array_equal(weights.layers[0].o, post.transpose(1, 2, 0))


def test_bfloat16_rounds_the_weights(
    gqa: Dimensions, pax_checkpoint: Callable[..., str], mesh: Mesh
) -> None:
    scale = np.full(48, 1.001, np.float16)
    path = pax_checkpoint(gqa, **{"final_ln.scale": scale})
    weights = restore.load(path, gqa, "bfloat16", mesh)
    assert set(np.asarray(weights.final_norm, np.float32).tolist()) == {1.0}


def test_a_missing_chunk_is_refused(
    gqa: Dimensions, pax_checkpoint: Callable[..., str], mesh: Mesh
) -> None:
    path = Path(pax_checkpoint(gqa))
    (path / f"state/{PREFIX}.embedding_lookup.emb_var/1.0").unlink()
    with pytest.raises(WeightsError, match=r"embedding_lookup\.emb_var"):
        restore.load(str(path), gqa, "float32", mesh)


def test_a_wrong_shape_is_refused(
    gqa: Dimensions, pax_checkpoint: Callable[..., str], mesh: Mesh
) -> None:
    path = pax_checkpoint(gqa, **{"final_ln.scale": np.ones(47, np.float16)})
    with pytest.raises(WeightsError, match=r"final_ln\.scale has shape \[47\].*\[48\]"):
        restore.load(path, gqa, "float32", mesh)


def test_a_missing_variable_is_refused(
    gqa: Dimensions, pax_checkpoint: Callable[..., str], mesh: Mesh
) -> None:
    path = Path(pax_checkpoint(gqa))
    (path / f"state/{PREFIX}.final_ln.scale").rename(path / "state/elsewhere")
    with pytest.raises(WeightsError, match=r"final_ln\.scale cannot be opened"):
        restore.load(str(path), gqa, "float32", mesh)


def test_only_a_committed_step_directory_is_taken(tmp_path: Path, mesh: Mesh) -> None:
    with pytest.raises(WeightsError, match="must end in a step directory"):
        restore.load(str(tmp_path), GOLDEN, "float32", mesh)
    with pytest.raises(WeightsError, match="is incomplete"):
        restore.load(str(tmp_path / "checkpoint_00000000"), GOLDEN, "float32", mesh)


def test_sources_name_combined_or_separate_projections(gqa: Dimensions) -> None:
    combined = restore.sources(GOLDEN, combined=True).layers[1].k
    separate = restore.sources(gqa, combined=False).layers[1].k
    assert combined.variable.endswith("x_layers_1.self_attention.combined_qkv.w")
    assert combined.pick == 1
    assert separate.variable.endswith("x_layers_1.self_attention.key.w")
    assert separate.result_shape == (48, 2, 8)


def test_kvstore_of_paths_and_uris() -> None:
    assert restore.kvstore("/a/b") == {"driver": "file", "path": "/a/b/"}
    assert restore.kvstore("file:///a/b") == {"driver": "file", "path": "/a/b/"}
    assert restore.kvstore("gs://b/c/d") == {"driver": "gcs", "bucket": "b", "path": "c/d/"}
