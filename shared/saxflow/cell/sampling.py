"""Choose the next token: greedy, or by temperature, top-k and top-p with a seed per request.

Source: google/praxis `sample_decode.py` (log-probabilities are those of the unfiltered
distribution, whatever the temperature).
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

Leaf = TypeVar("Leaf")


class SlotArrays(NamedTuple, Generic[Leaf]):
    """What decoding needs to know of every slot; each field is an array [B].

    Args:
        token: int32, last token, not yet in the cache.
        position: int32, where `token` goes in the cache.
        produced: int32, tokens chosen so far.
        remaining: int32, tokens still wanted; 0 for a slot that is empty or has ended.
        temperature: float32, 0 for greedy.
        top_k: int32, 0 for no limit.
        top_p: float32, 1 for no limit.
        seed: uint32.
    """

    token: Leaf
    position: Leaf
    produced: Leaf
    remaining: Leaf
    temperature: Leaf
    top_k: Leaf
    top_p: Leaf
    seed: Leaf


def log_probability(logits: jax.Array, tokens: jax.Array) -> jax.Array:
    """Return the log-probability of `tokens` [N] under float32 logits [N,V]."""
    picked = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    return picked - jax.nn.logsumexp(logits, axis=-1)


def choose(
    logits: jax.Array, slots: SlotArrays[jax.Array], *, sampled: bool
) -> tuple[jax.Array, jax.Array]:
    """Return a token int32 [B] and its log-probability [B] for each row of logits [B,V].

    Args:
        sampled: whether any slot has a temperature; static, because the greedy program compiles in
            half the time.
    """
    token = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    if sampled:
        token = jnp.where(slots.temperature > 0, _sample(logits, slots), token)
    return token, log_probability(logits, token)


def _sample(logits: jax.Array, slots: SlotArrays[jax.Array]) -> jax.Array:
    scaled = logits / jnp.maximum(slots.temperature, 1e-6)[:, None]
    limited = (slots.top_k > 0) | (slots.top_p < 1)
    kept = jax.lax.cond(
        jnp.any(limited), lambda: _filtered(scaled, slots.top_k, slots.top_p), lambda: scaled
    )
    noise = jax.vmap(_gumbel, in_axes=(0, 0, None))(slots.seed, slots.produced, logits.shape[-1])
    return jnp.argmax(kept + noise, axis=-1).astype(jnp.int32)


def _gumbel(seed: jax.Array, produced: jax.Array, vocab: int) -> jax.Array:
    """Noise [V] that depends on the request's seed and step alone, not on its neighbours."""
    return jax.random.gumbel(jax.random.fold_in(jax.random.key(seed), produced), (vocab,))


def _filtered(scaled: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Set to minus infinity what top-k and then top-p exclude; the likeliest token always stays."""
    ordered = jnp.sort(scaled, axis=-1, descending=True)
    rank = jnp.arange(scaled.shape[-1])
    within_k = (rank < top_k[:, None]) | (top_k[:, None] <= 0)
    probability = jax.nn.softmax(jnp.where(within_k, ordered, -jnp.inf), axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    kept = within_k & ((before < top_p[:, None]) | (rank == 0))
    threshold = jnp.min(jnp.where(kept, ordered, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(scaled >= threshold, scaled, -jnp.inf)
