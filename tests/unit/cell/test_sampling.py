"""Choosing tokens: greedy, top-k, top-p, seeds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from saxflow.cell import sampling
from saxflow.cell.sampling import SlotArrays, log_probability

choose = jax.jit(sampling.choose, static_argnames="sampled")
LOGITS = jnp.log(jnp.array([[0.05, 0.5, 0.15, 0.3]] * 64))


def slots(count: int, **changes: Any) -> SlotArrays[jax.Array]:
    values: dict[str, Any] = {
        "token": 0,
        "position": 0,
        "produced": 0,
        "remaining": 1,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "seed": jnp.arange(count, dtype=jnp.uint32),
        **changes,
    }
    kinds = dict.fromkeys(("temperature", "top_p"), jnp.float32)
    return SlotArrays(
        **{
            key: jnp.broadcast_to(
                jnp.asarray(value, jnp.uint32 if key == "seed" else kinds.get(key, jnp.int32)),
                (count,),
            )
            for key, value in values.items()
        }
    )


def test_log_probability_is_that_of_the_whole_distribution() -> None:
    found = log_probability(LOGITS[:2], jnp.array([1, 3]))
    np.testing.assert_allclose(found, np.log([0.5, 0.3]), rtol=1e-5)


def test_greedy_takes_the_likeliest() -> None:
    token, logprob = choose(LOGITS, slots(64, temperature=0.0), sampled=False)
    assert set(token.tolist()) == {1}
    np.testing.assert_allclose(logprob, np.log(0.5), rtol=1e-5)


def test_zero_temperature_is_greedy_beside_a_slot_that_samples() -> None:
    mixed = slots(64)._replace(temperature=jnp.array([0.0] + [1.0] * 63))
    token, _ = choose(LOGITS, mixed, sampled=True)
    assert int(token[0]) == 1
    assert len(set(token.tolist())) > 1


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 3}),
        ({"top_p": 0.01}, {1}),
        ({"top_p": 0.6}, {1, 3}),
        ({"top_p": 0.85}, {1, 2, 3}),
        ({"top_k": 3, "top_p": 0.5}, {1}),
    ],
)
def test_limits_exclude_the_unlikely(limits: dict[str, Any], allowed: set[int]) -> None:
    drawn: set[int] = set()
    for produced in range(20):
        token, _ = choose(LOGITS, slots(64, produced=produced, **limits), sampled=True)
        drawn |= set(token.tolist())
    assert drawn == allowed


def test_a_seed_decides_whatever_the_neighbours_do() -> None:
    alone, _ = choose(LOGITS[:1], slots(1, seed=jnp.array([9], jnp.uint32)), sampled=True)
    among, _ = choose(LOGITS[:3], slots(3, seed=jnp.array([1, 9, 2], jnp.uint32)), sampled=True)
    assert int(alone[0]) == int(among[1])


def test_frequencies_follow_the_distribution() -> None:
    token, _ = choose(jnp.tile(LOGITS[:1], (4000, 1)), slots(4000), sampled=True)
    share = np.bincount(np.asarray(token), minlength=4) / 4000
    np.testing.assert_allclose(share, [0.05, 0.5, 0.15, 0.3], atol=0.04)
