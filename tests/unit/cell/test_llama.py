"""Forward pass against Llama written out once more, and the cache against the forward pass."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from saxflow.cell import llama, restore
from saxflow.cell.sampling import SlotArrays
from saxflow.weights import Dimensions

forward = jax.jit(llama.logits, static_argnums=1)
decode = jax.jit(
    functools.partial(llama.decode, attend=16, capacity=8, sampled=False), static_argnums=1
)
GOLDEN = Dimensions(2, 64, 4, 4, 16, 192, 320)


def loaded(checkpoint: str, dims: Dimensions) -> llama.Weights:
    return restore.load(checkpoint, dims, "float32", Mesh(np.array(jax.devices()[:1]), ("mdl",)))


@pytest.fixture
def gqa_weights(gqa: Dimensions, pax_checkpoint: Callable[..., str]) -> llama.Weights:
    return loaded(pax_checkpoint(gqa), gqa)


def test_logits_of_grouped_queries_equal_the_reference(
    gqa: Dimensions, gqa_weights: llama.Weights, reference_logits: Callable[..., Any]
) -> None:
    ids = np.array([1, 5, 9, 33, 60, 2, 7, 8, 11], np.int32)
    found = forward(gqa_weights, gqa, jnp.asarray(ids))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, reference_logits(gqa, ids), atol=2e-5)


def test_logits_of_full_heads_equal_the_real_systems(checkpoint: str, golden: Path) -> None:
    with np.load(golden / "tiny_mha_2shards/logits.npz") as data:
        ids, wanted = data["ids"], data["meta_ref"]
    weights = loaded(checkpoint, GOLDEN)
    for row, expected in zip(ids, wanted, strict=True):
        found = forward(weights, GOLDEN, jnp.asarray(row))
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_score_is_the_log_probability_of_each_next_token(
    gqa: Dimensions, gqa_weights: llama.Weights
) -> None:
    ids = jnp.array([1, 5, 9, 33], jnp.int32)
    table = np.asarray(jax.nn.log_softmax(forward(gqa_weights, gqa, ids)))
    wanted = [table[i, ids[i + 1]] for i in range(3)]
    scored = jax.jit(llama.score, static_argnums=1)(gqa_weights, gqa, ids)
    np.testing.assert_allclose(scored, wanted, atol=1e-5)


def slots(rows: list[tuple[int, int, int]]) -> llama.Slots:
    """Return greedy slots of (token, position, remaining)."""
    token, position, remaining = (
        jnp.array(column, jnp.int32) for column in zip(*rows, strict=True)
    )
    zeros = jnp.zeros(len(rows))
    return SlotArrays(
        token,
        position,
        jnp.ones(len(rows), jnp.int32),
        remaining,
        zeros,
        zeros.astype(jnp.int32),
        zeros + 1,
        zeros.astype(jnp.uint32),
    )


def test_prefill_and_decode_choose_what_the_whole_forward_pass_would(
    gqa: Dimensions, gqa_weights: llama.Weights
) -> None:
    cache = llama.empty_cache(gqa, 2, 32, jnp.float32)
    prompt = [1, 5, 9]
    padded = jnp.array([*prompt, 0, 0], jnp.int32)
    one = slots([(0, 3, 8)])
    prefill = jax.jit(llama.prefill, static_argnums=1, static_argnames="sampled")
    cache, first, _ = prefill(
        gqa_weights, gqa, cache, padded, jnp.int32(3), jnp.int32(1), one, sampled=False
    )
    state = slots([(0, 0, 0), (int(first[0]), 3, 7)])
    _, decoded = decode(gqa_weights, gqa, cache, state, jnp.int32(5))
    tokens = [int(first[0]), *decoded.tokens[: int(decoded.steps), 1].tolist()]
    assert int(decoded.steps) == 5 or llama.EOS in tokens
    whole = np.zeros(12, np.int32)
    whole[: 3 + len(tokens)] = [*prompt, *tokens]
    table = np.asarray(forward(gqa_weights, gqa, jnp.asarray(whole)))
    assert tokens == table[2 : 2 + len(tokens)].argmax(-1).tolist()


def test_decode_stops_when_every_slot_has_ended(
    gqa: Dimensions, gqa_weights: llama.Weights
) -> None:
    cache = llama.empty_cache(gqa, 2, 16, jnp.float32)
    state = slots([(5, 0, 2), (6, 0, 0)])
    _, decoded = decode(gqa_weights, gqa, cache, state, jnp.int32(8))
    assert int(decoded.steps) <= 2


def test_empty_cache_has_a_layer_per_block(gqa: Dimensions) -> None:
    cache = llama.empty_cache(gqa, 2, 16, jnp.float32)
    assert len(cache) == gqa.layers
    assert cache[0].k.shape == (2, gqa.kv_heads, 16, gqa.head_dim)
