"""Extra inputs: what is known, and what is refused in SAX's words."""

from __future__ import annotations

import pytest

from saxflow.cell import extras
from saxflow.errors import SaxError
from saxflow.sax import messages as m


def test_nothing_asked_for_is_greedy_and_as_long_as_allowed() -> None:
    sampling = extras.sampling_of(m.ExtraInputs(), 40)
    assert (sampling.temperature, sampling.max_tokens) == (0.0, 40)
    assert (sampling.top_k, sampling.top_p) == (0, 1.0)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (7, 7), (40, 40), (1000, 40)])
def test_steps_stay_within_what_is_allowed(asked: float, given: int) -> None:
    extra = m.ExtraInputs(items={"per_example_max_decode_steps": asked})
    assert extras.sampling_of(extra, 40).max_tokens == given


def test_sampling_takes_its_numbers() -> None:
    extra = m.ExtraInputs(
        items={"temperature": 0.5, "per_example_top_k": 3, "per_example_top_p": 0.5, "seed": 7}
    )
    sampling = extras.sampling_of(extra, 40)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed) == (0.5, 3, 0.5, 7)


def test_without_a_seed_each_request_has_its_own() -> None:
    seeds = {extras.sampling_of(m.ExtraInputs(), 4).seed for _ in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (m.ExtraInputs(items={"nope": 1}), "key `nope` in the RPC request is not defined"),
        (m.ExtraInputs(strings={"nope": "x"}), "key `nope`"),
        (m.ExtraInputs(tensors={"temperature": m.Tensor(values=[1])}), "is a list but"),
        (m.ExtraInputs(strings={"temperature": "x"}), "is a string but"),
        (m.ExtraInputs(items={"temperature": -1}), "`temperature` is -1"),
        (m.ExtraInputs(items={"temperature": float("nan")}), "`temperature` is nan"),
        (m.ExtraInputs(items={"per_example_top_k": float("inf")}), "`per_example_top_k` is inf"),
    ],
)
def test_what_makes_no_sense_is_refused(extra: m.ExtraInputs, text: str) -> None:
    with pytest.raises(SaxError, match=text) as caught:
        extras.sampling_of(extra, 40)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_method_without_extra_inputs_refuses_all() -> None:
    extras.check(m.ExtraInputs(), {})
    with pytest.raises(SaxError):
        extras.check(m.ExtraInputs(items={"temperature": 1}), {})


def test_generate_defaults_name_every_input() -> None:
    assert set(extras.generate_defaults(4)) == {
        "temperature",
        "per_example_max_decode_steps",
        "per_example_top_k",
        "per_example_top_p",
        "seed",
    }
