"""Loading by servable.json, with a publication's overrides."""

from __future__ import annotations

import asyncio

import pytest

from saxflow.cell.loader import ModelLoader, overridden
from saxflow.errors import InputError
from saxflow.sax import messages as m
from saxflow.sax.servable import Servable


def test_overrides_change_the_servable(servable: Servable) -> None:
    changed = overridden(
        servable,
        {
            "BATCH_SIZE": "4",
            "MAX_DECODE_STEPS": "[8, 16]",
            "ENABLE_GENERATE_STREAM": "false",
            "INPUT_SEQ_LEN": "48",
            "SPM_MODEL": '"ids:"',
        },
    )
    assert (changed.batch, changed.max_new_tokens, changed.input_len) == (4, 16, 48)
    assert not changed.stream
    assert overridden(servable, {}) is servable


@pytest.mark.parametrize(
    ("attribute", "text", "message"),
    [
        ("TOP_K", "1", "TOP_K is unknown"),
        ("BATCH_SIZE", "four", "not JSON"),
        ("BATCH_SIZE", '"4"', "must be a int"),
        ("BATCH_SIZE", "true", "must be a int"),
        ("BATCH_SIZE", "0", "positive integer"),
        ("ENABLE_GENERATE_STREAM", "1", "must be a bool"),
    ],
)
def test_bad_overrides_are_refused(
    servable: Servable, attribute: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        overridden(servable, {attribute: text})


def test_a_model_is_loaded_answers_and_goes(servable: Servable, checkpoint: str) -> None:
    loader = ModelLoader(servable)
    request = m.LoadRequest(
        model_key="/sax/test/m", model_path=servable.model_path, checkpoint_path=checkpoint
    )
    for _ in range(2):
        served = loader.load(request)
        assert loader.streams
        ask = m.GenerateRequest(text="3")
        ask.extra_inputs.items["per_example_max_decode_steps"] = 3
        reply = asyncio.run(served.generate(ask))
        assert reply.texts[0].text == "85,295,250"
        loader.unload()


def test_an_unknown_path_or_checkpoint_is_the_callers_fault(
    servable: Servable, checkpoint: str
) -> None:
    loader = ModelLoader(servable)
    with pytest.raises(InputError, match=r"Could not find servable model `other\.Path`"):
        loader.load(m.LoadRequest(model_path="other.Path", checkpoint_path=checkpoint))
    with pytest.raises(InputError, match="must end in a step directory"):
        loader.load(m.LoadRequest(model_path=servable.model_path, checkpoint_path="/nowhere"))
