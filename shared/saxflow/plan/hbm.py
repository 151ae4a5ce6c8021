"""Does a Llama fit the memory of a slice? Numbers a person can check, by chip.

Pax pads an axis that the mesh does not divide, so each share is rounded up: 8 KV heads on 16 chips
take as much as 16.

Source: google/saxml saxml/server/pax/lm/params/template.py set_decoding_sharding_hparams (what is
sharded over `mdl`); Cloud TPU v5e documentation (16 GB a chip).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from saxflow import layout
from saxflow.catalog import HBM_BYTES_PER_CHIP, SLICES, Slice
from saxflow.weights import Dimensions

ITEMSIZE = 2
"""Weights, cache and activations are bfloat16 while serving."""

FLOAT_ITEMSIZE = 4
RUNTIME_BYTES_PER_CHIP = 2_000_000_000
"""Kept free on every chip: compiled programs, collectives' buffers, fragmentation."""


@dataclass(frozen=True)
class Load:
    """What is asked of a model server.

    Args:
        batch: requests decoded together.
        input_len: longest prompt in tokens.
        max_new_tokens: most tokens generated.
    """

    batch: int
    input_len: int
    max_new_tokens: int


@dataclass(frozen=True)
class Budget:
    """Bytes on the fullest chip of a slice."""

    slice: Slice
    weights_bytes: int
    cache_bytes: int
    activations_bytes: int
    runtime_bytes: int = RUNTIME_BYTES_PER_CHIP
    available_bytes: int = HBM_BYTES_PER_CHIP

    @property
    def needed_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.cache_bytes + self.activations_bytes + self.runtime_bytes

    @property
    def fits(self) -> bool:
        """Whether it is no more than a chip has."""
        return self.needed_bytes <= self.available_bytes

    def rows(self) -> dict[str, int]:
        """Return the lines of the table, in bytes per chip."""
        return {
            "weights": self.weights_bytes,
            "KV cache": self.cache_bytes,
            "activations": self.activations_bytes,
            "runtime": self.runtime_bytes,
            "needed": self.needed_bytes,
            "available": self.available_bytes,
        }


def budget(dims: Dimensions, entry: Slice, load: Load) -> Budget:
    """Return what a model takes on each chip of a slice."""
    return Budget(
        entry,
        weights_bytes=sum(_share(v, entry.chips) for v in layout.pax_variables(dims)),
        cache_bytes=_cache(dims, entry.chips, load),
        activations_bytes=_activations(dims, entry.chips, load),
    )


def smallest_slice(dims: Dimensions, load: Load) -> Slice | None:
    """Return the smallest slice that the model fits, None when none does."""
    return next((s for s in SLICES.values() if budget(dims, s, load).fits), None)


def refusal(found: Budget, dims: Dimensions, load: Load) -> str | None:
    """Return why a slice is too small, with the numbers and a remedy; None when it is not."""
    if found.fits:
        return None
    better = smallest_slice(dims, load)
    remedy = f"use {better.accelerator_type}" if better else "no slice is large enough"
    parts = ", ".join(f"{name} {_gb(size)}" for name, size in list(found.rows().items())[:4])
    return (
        f"{found.slice.accelerator_type} is too small: a chip needs {_gb(found.needed_bytes)} and has"
        f" {_gb(found.available_bytes)} ({parts}; {load.batch} x"
        f" {load.input_len + load.max_new_tokens} tokens on {found.slice.chips} chips); {remedy},"
        " or lower serve.batchSize, maxInputTokens or maxNewTokens"
    )


def _share(variable: layout.Variable, chips: int) -> int:
    shape = list(variable.shape)
    if variable.mdl_axis is not None:
        shape[variable.mdl_axis] = ceil(shape[variable.mdl_axis] / chips)
    return prod(shape) * ITEMSIZE


def _cache(dims: Dimensions, chips: int, load: Load) -> int:
    tokens = load.batch * (load.input_len + load.max_new_tokens)
    per_token = 2 * dims.layers * ceil(dims.kv_heads / chips) * dims.head_dim * ITEMSIZE
    return tokens * per_token


def _activations(dims: Dimensions, chips: int, load: Load) -> int:
    """Return the largest moment of prefill: residual stream, one feed-forward, scores, logits."""
    tokens = load.batch * load.input_len
    stream = 4 * tokens * dims.model_dim * ITEMSIZE
    feed_forward = 2 * tokens * ceil(dims.hidden_dim / chips) * ITEMSIZE
    scores = tokens * load.input_len * ceil(dims.heads / chips) * FLOAT_ITEMSIZE
    logits = tokens * ceil(dims.vocab / chips) * FLOAT_ITEMSIZE
    return stream + feed_forward + scores + logits


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
