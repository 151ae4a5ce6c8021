"""Llama 2 as pure functions over a tree of arrays: forward pass, prefill, decode, score.

Shapes: B slots, T tokens, S cache length, D model dim, H query heads, K key/value heads, h head dim,
F hidden dim, V vocab. Matrices are kept so that activations multiply from the left, which is the
fast orientation on a CPU. Everything the host decides travels as small arrays; nothing here keeps
state, so several processes that receive the same calls stay in step.

Source: meta-llama/llama `llama/model.py`; google/saxml v1.1.0 `server/pax/lm/params/lm_cloud.py`.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from saxflow.cell.sampling import SlotArrays, choose, log_probability
from saxflow.weights import Dimensions

EOS = 2
Leaf = TypeVar("Leaf")


class Layer(NamedTuple, Generic[Leaf]):
    """One transformer block: norms [D], q [D,H,h], k and v [D,K,h], o [H,h,D], gate, up, down."""

    attention_norm: Leaf
    q: Leaf
    k: Leaf
    v: Leaf
    o: Leaf
    ffn_norm: Leaf
    gate: Leaf
    up: Leaf
    down: Leaf


class Params(NamedTuple, Generic[Leaf]):
    """All weights: embedding [V,D], blocks, final norm [D], output [D,V]."""

    embedding: Leaf
    layers: tuple[Layer[Leaf], ...]
    final_norm: Leaf
    output: Leaf


class LayerCache(NamedTuple):
    """Keys and values of one block, each [B,K,S,h]: attention reads it as it lies."""

    k: jax.Array
    v: jax.Array


Cache = tuple[LayerCache, ...]
Weights = Params[jax.Array]
Slots = SlotArrays[jax.Array]


class Decoded(NamedTuple):
    """What `decode` produced.

    Args:
        tokens: int32 [C,B], token of step c for each slot.
        logprobs: float32 [C,B].
        steps: int32 [], how many of the C rows are filled.
    """

    tokens: jax.Array
    logprobs: jax.Array
    steps: jax.Array


def empty_cache(dims: Dimensions, slots: int, length: int, dtype: Any) -> Cache:
    """Return a cache of zeros for `slots` sequences of up to `length` tokens."""
    shape = (slots, dims.kv_heads, length, dims.head_dim)
    return tuple(
        LayerCache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(dims.layers)
    )


def logits(params: Weights, dims: Dimensions, ids: jax.Array) -> jax.Array:
    """Return float32 logits [T,V] for one sequence int32 [T]."""
    hidden, _ = _prefix(params, dims, ids)
    return _logits(params, hidden)


def score(params: Weights, dims: Dimensions, ids: jax.Array) -> jax.Array:
    """Return float32 [T-1]: the log-probability of `ids[t+1]` given `ids[:t+1]`."""
    return log_probability(logits(params, dims, ids)[:-1], ids[1:])


def prefill(
    params: Weights,
    dims: Dimensions,
    cache: Cache,
    ids: jax.Array,
    length: jax.Array,
    slot: jax.Array,
    sampling: Slots,
    *,
    sampled: bool,
) -> tuple[Cache, jax.Array, jax.Array]:
    """Run a prompt into one slot and choose its first token.

    Args:
        ids: int32 [P], padded to a bucket; what lies beyond `length` is overwritten later.
        length: int32 [], tokens of the prompt, at least 1.
        slot: int32 [].
        sampling: arrays of one slot, [1].
        sampled: as in `choose`.

    Returns:
        The cache, the token int32 [1] and its log-probability float32 [1].
    """
    hidden, keys_values = _prefix(params, dims, ids)
    cache = tuple(
        LayerCache(_insert(layer.k, k, slot), _insert(layer.v, v, slot))
        for layer, (k, v) in zip(cache, keys_values, strict=True)
    )
    last = _logits(params, jax.lax.dynamic_slice_in_dim(hidden, length - 1, 1))
    token, logprob = choose(last, sampling, sampled=sampled)
    return cache, token, logprob


def decode(
    params: Weights,
    dims: Dimensions,
    cache: Cache,
    slots: Slots,
    limit: jax.Array,
    *,
    attend: int,
    capacity: int,
    sampled: bool,
) -> tuple[Cache, Decoded]:
    """Extend every active slot by up to `limit` tokens, fewer when all slots have ended.

    Args:
        slots: arrays [B]; a slot ends at EOS or when `remaining` tokens have been produced.
        limit: int32 [], at most `capacity`.
        attend: how much of the cache can be in use when the call ends; static.
        capacity: rows C of the result; static.
        sampled: as in `choose`.
    """
    batch = slots.token.shape[0]
    tokens = jnp.zeros((capacity, batch), jnp.int32)
    logprobs = jnp.zeros((capacity, batch), jnp.float32)

    def more(carry: Any) -> jax.Array:
        step, _, state, _, _ = carry
        return (step < limit) & jnp.any(state.remaining > 0)

    def body(carry: Any) -> Any:
        step, cache, state, tokens, logprobs = carry
        cache, row = _step(params, dims, cache, state, attend)
        token, logprob = choose(row, state, sampled=sampled)
        state = _advance(state, token)
        return step + 1, cache, state, tokens.at[step].set(token), logprobs.at[step].set(logprob)

    start = (jnp.int32(0), cache, slots, tokens, logprobs)
    steps, cache, _, tokens, logprobs = jax.lax.while_loop(more, body, start)
    return cache, Decoded(tokens, logprobs, steps)


def _advance(state: Slots, token: jax.Array) -> Slots:
    alive = state.remaining > 0
    left = jnp.where(token == EOS, 0, state.remaining - 1)
    return state._replace(
        token=jnp.where(alive, token, state.token),
        position=jnp.where(alive, state.position + 1, state.position),
        produced=jnp.where(alive, state.produced + 1, state.produced),
        remaining=jnp.where(alive, left, 0),
    )


def _prefix(
    params: Weights, dims: Dimensions, ids: jax.Array
) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
    """Return the last hidden states [T,D] and each block's keys and values [T,K,h]."""
    length = ids.shape[0]
    rotation = _rotation(dims, jnp.arange(length))
    causal = jnp.tril(jnp.ones((length, length), bool))[:, None, None, :]
    x = params.embedding[ids]
    keys_values: list[tuple[jax.Array, jax.Array]] = []
    for layer in params.layers:
        q, k, v = _project(layer, dims, x, rotation)
        keys_values.append((k, v))
        weights = _softmax(jnp.einsum("tkgh,skh->tkgs", _grouped(q, dims), k), causal, dims)
        mixed = jnp.einsum("tkgs,skh->tkgh", weights.astype(v.dtype), v)
        x = _feed_forward(layer, dims, x + _output(layer, mixed.reshape(q.shape)))
    return _norm(x, params.final_norm, dims), keys_values


def _step(
    params: Weights, dims: Dimensions, cache: Cache, state: Slots, attend: int
) -> tuple[Cache, jax.Array]:
    """Run one token per slot; return the cache and logits [B,V]."""
    rows = jnp.arange(state.token.shape[0])
    rotation = _rotation(dims, state.position)
    seen = (jnp.arange(attend) <= state.position[:, None])[:, None, None, :]
    x = params.embedding[state.token]
    updated: list[LayerCache] = []
    for layer, held in zip(params.layers, cache, strict=True):
        q, k, v = _project(layer, dims, x, rotation)
        held = LayerCache(
            held.k.at[rows, :, state.position].set(k, mode="drop"),
            held.v.at[rows, :, state.position].set(v, mode="drop"),
        )
        updated.append(held)
        keys, values = held.k[:, :, :attend], held.v[:, :, :attend]
        weights = _softmax(jnp.einsum("bkgh,bksh->bkgs", _grouped(q, dims), keys), seen, dims)
        mixed = jnp.einsum("bkgs,bksh->bkgh", weights.astype(values.dtype), values)
        x = _feed_forward(layer, dims, x + _output(layer, mixed.reshape(q.shape)))
    return tuple(updated), _logits(params, _norm(x, params.final_norm, dims))


def _insert(held: jax.Array, new: jax.Array, slot: jax.Array) -> jax.Array:
    """Write [P,K,h] at the start of one slot of [B,K,S,h]."""
    rows = jnp.swapaxes(new, 0, 1)[None].astype(held.dtype)
    return jax.lax.dynamic_update_slice(held, rows, (slot, 0, 0, 0))


def _logits(params: Weights, hidden: jax.Array) -> jax.Array:
    return (hidden @ params.output).astype(jnp.float32)


def _norm(x: jax.Array, scale: jax.Array, dims: Dimensions) -> jax.Array:
    """RMSNorm in float32; the scale multiplies directly (Pax `direct_scale`)."""
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide * wide, axis=-1, keepdims=True)
    return (wide * jax.lax.rsqrt(mean + dims.norm_eps)).astype(x.dtype) * scale


def _rotation(dims: Dimensions, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return cosine and sine, float32 [T,1,h/2]."""
    exponents = jnp.arange(0, dims.head_dim, 2, dtype=jnp.float32) / dims.head_dim
    angles = positions[:, None].astype(jnp.float32) * dims.rope_theta**-exponents
    return jnp.cos(angles)[:, None, :], jnp.sin(angles)[:, None, :]


def _rotate(x: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Turn neighbouring pairs of the last axis, as Meta does (not halves, as Hugging Face does)."""
    cosine, sine = rotation
    pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([even * cosine - odd * sine, even * sine + odd * cosine], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)


def _project(
    layer: Layer[jax.Array], dims: Dimensions, x: jax.Array, rotation: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    normed = _norm(x, layer.attention_norm, dims)
    q, k, v = (_heads(normed, weight) for weight in (layer.q, layer.k, layer.v))
    return _rotate(q, rotation), _rotate(k, rotation), v


def _heads(x: jax.Array, weight: jax.Array) -> jax.Array:
    """[T,D] times [D,N,h] -> [T,N,h], as one plain product: anything else copies the weight."""
    flat = x @ weight.reshape(weight.shape[0], -1)
    return flat.reshape(x.shape[0], *weight.shape[1:])


def _grouped(q: jax.Array, dims: Dimensions) -> jax.Array:
    """[T,H,h] -> [T,K,H/K,h]: neighbouring query heads share a key/value head."""
    return q.reshape(q.shape[0], dims.kv_heads, -1, dims.head_dim)


def _softmax(raw: jax.Array, mask: jax.Array, dims: Dimensions) -> jax.Array:
    scaled = raw.astype(jnp.float32) * dims.head_dim**-0.5
    return jax.nn.softmax(jnp.where(mask, scaled, -jnp.inf), axis=-1)


def _output(layer: Layer[jax.Array], mixed: jax.Array) -> jax.Array:
    """[T,H,h] times [H,h,D] -> [T,D], as one plain product."""
    return mixed.reshape(mixed.shape[0], -1) @ layer.o.reshape(-1, layer.o.shape[-1])


def _feed_forward(layer: Layer[jax.Array], dims: Dimensions, x: jax.Array) -> jax.Array:
    normed = _norm(x, layer.ffn_norm, dims)
    return x + (jax.nn.silu(normed @ layer.gate) * (normed @ layer.up)) @ layer.down
