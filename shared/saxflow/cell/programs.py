"""The compiled programs of one served model, their buckets and the cache they share.

Calls are blocking and must come from one thread. Every process of a multi-host server makes the same
calls with the same host arrays and gets the same answers.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from saxflow.cell import llama, restore
from saxflow.cell.sampling import SlotArrays
from saxflow.sax.servable import Servable
from saxflow.weights import Dimensions

CAPACITY = 32
"""Most tokens per slot that one decode call can produce."""
_PROMPT_BUCKET, _ATTEND_BUCKET, _GROWTH = 32, 128, 4

Host = np.ndarray[Any, Any]
HostSlots = SlotArrays[Host]


def dimensions_of(servable: Servable) -> Dimensions:
    """Return the dimensions a servable describes."""
    return Dimensions(
        layers=servable.layers,
        model_dim=servable.model_dim,
        heads=servable.heads,
        kv_heads=servable.kv_heads,
        head_dim=servable.head_dim,
        hidden_dim=servable.hidden_dim,
        vocab=servable.vocab,
        norm_eps=servable.norm_eps,
        rope_theta=servable.rope_theta,
    )


def buckets(first: int, last: int) -> list[int]:
    """Return `first`, four times that and so on, ending in `last`."""
    sizes: list[int] = []
    size = first
    while size < last:
        sizes.append(size)
        size *= _GROWTH
    return [*sizes, last]


def serving_mesh(servable: Servable) -> Mesh:
    """Return the devices of all processes along `mdl`, at most as many as the servable asks for."""
    devices = jax.devices()
    wanted = max(servable.mesh)
    count = len(devices) if jax.process_count() > 1 else min(len(devices), wanted)
    return Mesh(np.array(devices[:count]), ("mdl",))


class Key(NamedTuple):
    """Which program: `prefill`, `decode` or `score`, its bucket, and whether it samples."""

    kind: str
    size: int
    sampled: bool = False


class Programs:
    """Prefill, decode and score of one model."""

    def __init__(self, servable: Servable, mesh: Mesh) -> None:
        self.servable = servable
        self.dims = dimensions_of(servable)
        self.length = servable.input_len + servable.max_new_tokens
        self._mesh = mesh
        self._dtype = restore.compute_dtype(servable.compute_dtype)
        self._params: llama.Weights | None = None
        self._cache: llama.Cache | None = None
        self._prompts = buckets(_PROMPT_BUCKET, servable.input_len)
        self._attends = buckets(_ATTEND_BUCKET, self.length)
        self._compiled: dict[Key, Any] = {}
        self._turns: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Compile what a first short prompt needs; weights are not needed for it."""
        first = [Key("prefill", self._prompts[0]), Key("decode", self._attends[0])]
        with ThreadPoolExecutor(len(first)) as pool:
            list(pool.map(self._program, first))

    def load(self, checkpoint: str) -> None:
        """Read the weights and make room for the cache; raises as `restore.load`."""
        self._params = restore.load(checkpoint, self.dims, self.servable.compute_dtype, self._mesh)
        make = jax.jit(self._empty_cache, out_shardings=self._cache_sharding())
        self._cache = make()

    def release(self) -> None:
        """Give up weights and cache; what is compiled stays."""
        self._params = self._cache = None

    def prefill(self, ids: Sequence[int], slot: int, sampling: HostSlots) -> tuple[int, float]:
        """Run a prompt into a slot; return its first token and the token's log-probability."""
        padded = self._padded(ids)
        program = self._program(Key("prefill", padded.size, _is_sampled(sampling)))
        arguments = (padded, np.int32(len(ids)), np.int32(slot), sampling)
        self._cache, token, logprob = program(
            self._params, self._cache, *self._replicated(arguments)
        )
        return int(np.asarray(token)[0]), float(np.asarray(logprob)[0])

    def decode(self, slots: HostSlots, limit: int) -> tuple[Host, Host]:
        """Extend all active slots; return tokens int32 [n,B] and log-probabilities [n,B]."""
        limit = min(limit, CAPACITY)
        reach = int(np.max(np.where(slots.remaining > 0, slots.position, 0))) + limit
        size = next((bucket for bucket in self._attends if bucket >= reach), self.length)
        program = self._program(Key("decode", size, _is_sampled(slots)))
        self._cache, decoded = program(
            self._params, self._cache, *self._replicated((slots, np.int32(limit)))
        )
        steps = int(np.asarray(decoded.steps))
        return np.asarray(decoded.tokens)[:steps], np.asarray(decoded.logprobs)[:steps]

    def score(self, ids: Sequence[int]) -> Host:
        """Return the log-probability of each of `ids[1:]`."""
        padded = self._padded(ids)
        program = self._program(Key("score", padded.size))
        out = program(self._params, *self._replicated((padded,)))
        return np.asarray(out)[: len(ids) - 1]

    def _padded(self, ids: Sequence[int]) -> Host:
        size = next(bucket for bucket in self._prompts if bucket >= len(ids))
        return np.pad(np.array(ids, np.int32), (0, size - len(ids)))

    def _empty_cache(self) -> llama.Cache:
        return llama.empty_cache(self.dims, self.servable.batch, self.length, self._dtype)

    def _cache_sharding(self) -> NamedSharding:
        cut = self.dims.kv_heads % self._mesh.size == 0
        spec = PartitionSpec(None, "mdl") if cut else PartitionSpec()
        return NamedSharding(self._mesh, spec)

    def _replicated(self, tree: Any) -> Any:
        """Host arrays as they are on one process; as global arrays on several."""
        if jax.process_count() == 1:
            return tree
        sharding = NamedSharding(self._mesh, PartitionSpec())
        return jax.tree.map(
            lambda x: jax.make_array_from_callback(np.shape(x), sharding, lambda _: np.asarray(x)),
            tree,
        )

    def _program(self, key: Key) -> Any:
        """Return a compiled program, compiling it now when nobody has."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            if key not in self._compiled:
                self._compiled[key] = self._compile(key)
            return self._compiled[key]

    def _compile(self, key: Key) -> Any:
        params = restore.abstract(self.dims, self.servable.compute_dtype, self._mesh)
        ids, scalar = self._struct((key.size,), jnp.int32), self._struct((), jnp.int32)
        everywhere = NamedSharding(self._mesh, PartitionSpec())
        if key.kind == "score":
            scoring = functools.partial(_score, self.dims)
            return jax.jit(scoring, out_shardings=everywhere).lower(params, ids).compile()
        if key.kind == "prefill":
            step: Any = functools.partial(_prefill, self.dims, key.sampled)
            rest = (ids, scalar, scalar, self._slots(1))
        else:
            step = functools.partial(_decode, self.dims, key.size, key.sampled)
            rest = (self._slots(self.servable.batch), scalar)
        cache = self._abstract_cache()
        _, *others = jax.eval_shape(step, params, cache, *rest)
        shardings = (self._cache_sharding(), *(everywhere for _ in others))
        jitted = jax.jit(step, donate_argnums=(1,), out_shardings=shardings)
        return jitted.lower(params, cache, *rest).compile()

    def _abstract_cache(self) -> Any:
        sharding = self._cache_sharding()
        shapes = jax.eval_shape(self._empty_cache)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
        )

    def _struct(self, shape: tuple[int, ...], dtype: Any) -> Any:
        sharding = NamedSharding(self._mesh, PartitionSpec())
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    def _slots(self, count: int) -> SlotArrays[Any]:
        integer, real = self._struct((count,), jnp.int32), self._struct((count,), jnp.float32)
        fields: Any = dict.fromkeys(("token", "position", "produced", "remaining"), integer)
        seed = self._struct((count,), jnp.uint32)
        return SlotArrays(**fields, temperature=real, top_k=integer, top_p=real, seed=seed)


def _is_sampled(slots: HostSlots) -> bool:
    return bool(np.any((np.asarray(slots.temperature) > 0) & (np.asarray(slots.remaining) > 0)))


def _score(dims: Dimensions, params: llama.Weights, ids: jax.Array) -> jax.Array:
    return llama.score(params, dims, ids)


def _prefill(
    dims: Dimensions, sampled: bool, params: llama.Weights, cache: llama.Cache, *rest: Any
) -> Any:
    return llama.prefill(params, dims, cache, *rest, sampled=sampled)


def _decode(
    dims: Dimensions,
    size: int,
    sampled: bool,
    params: llama.Weights,
    cache: llama.Cache,
    *rest: Any,
) -> Any:
    return llama.decode(params, dims, cache, *rest, attend=size, capacity=CAPACITY, sampled=sampled)
