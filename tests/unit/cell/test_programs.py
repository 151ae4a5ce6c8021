"""Compiled programs: buckets, golden tokens, scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from saxflow.cell.engine import slot_arrays
from saxflow.cell.programs import Key, Programs, buckets, dimensions_of, serving_mesh
from saxflow.sax.servable import Servable


@pytest.mark.parametrize(
    ("last", "sizes"),
    [(24, [24]), (32, [32]), (100, [32, 100]), (1024, [32, 128, 512, 1024])],
)
def test_buckets_grow_up_to_the_last(last: int, sizes: list[int]) -> None:
    assert buckets(32, last) == sizes


def test_dimensions_are_the_servables(servable: Servable) -> None:
    dims = dimensions_of(servable)
    assert (dims.layers, dims.heads, dims.vocab) == (2, 4, 320)


def test_one_device_is_a_mesh(servable: Servable) -> None:
    assert serving_mesh(servable).axis_names == ("mdl",)


def greedy(programs: Programs, ids: list[int], steps: int) -> tuple[list[int], float]:
    token, logprob = programs.prefill(ids, 1, slot_arrays([[0], [0], [0], [9], [0], [0], [1], [0]]))
    tokens, total = [token], logprob
    position = len(ids)
    while len(tokens) < steps:
        row = [[0, tokens[-1]], [0, position], [0, len(tokens)], [0, steps - len(tokens)]]
        state = slot_arrays([*([*r, 0] for r in row), [0] * 3, [0] * 3, [1] * 3, [0] * 3])
        new, logprobs = programs.decode(state, 5)
        tokens += new[:, 1].tolist()
        total += float(logprobs[:, 1].sum())
        position += len(new)
    return tokens, total


def test_greedy_tokens_and_scores_are_the_real_servers(
    programs: Programs, cases: dict[str, Any]
) -> None:
    for prompt, case in cases.items():
        tokens, total = greedy(programs, [1, *map(int, prompt.split(","))], 16)
        assert tokens == case["tokens"]
        assert total == pytest.approx(case["sax_score"], abs=1e-4)


def test_score_has_one_number_per_token_after_the_first(programs: Programs) -> None:
    scores = programs.score([1, 45, 100, 7, 201, 300, 12])
    assert scores.shape == (6,)
    assert float(np.sum(scores[-3:])) == pytest.approx(-18.76772689819336, abs=1e-4)


def test_warm_compiles_ahead_of_weights(servable: Servable) -> None:
    programs = Programs(servable, serving_mesh(servable))
    programs.warm()
    programs.release()
    assert Key("prefill", 24) == Key("prefill", 24, False)
