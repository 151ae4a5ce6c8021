"""servable.json, strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from saxflow.errors import InputError
from saxflow.sax.servable import Servable

TINY: dict[str, Any] = {
    "class": "Llama",
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 16,
    "model_dim": 64,
    "hidden_dim": 192,
    "vocab": 320,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "mesh": [1, 1, 4],
    "batch": 2,
    "input_len": 64,
    "max_new_tokens": 16,
    "stream": True,
    "tokenizer": "ids:",
    "compute_dtype": "float32",
    "model_path": "saxml.server.pax.lm.params.saxflow.Llama",
}


def test_round_trip() -> None:
    servable = Servable.from_json(json.dumps(TINY))
    assert servable.mesh == (1, 1, 4)
    assert servable.class_name == "Llama"
    assert servable.as_dict() == TINY
    assert Servable.from_json(servable.to_json()) == servable


def test_what_may_be_left_out_has_defaults() -> None:
    required = ("layers", "heads", "kv_heads", "head_dim", "model_dim", "hidden_dim", "vocab")
    servable = Servable.from_dict({key: TINY[key] for key in (*required, "tokenizer")})
    assert servable.mesh == (1, 1, 1)
    assert servable.model_path == "saxml.server.pax.lm.params.saxflow.Llama"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"layers": True}, "layers is True"),
        ({"vocab": "320"}, "vocab is '320'"),
        ({"mesh": [1, 4]}, "mesh is"),
        ({"stream": 1}, "stream is 1"),
        ({"tokenizer": "/etc/x"}, "tokenizer is"),
        ({"tokenizer": "gs://bucket"}, "tokenizer is"),
        ({"compute_dtype": "int8"}, "bfloat16 or float32 or float16"),
        ({"norm_eps": 0}, "norm_eps is 0"),
        ({"rope_theta": float("inf")}, "rope_theta is inf"),
        ({"heads": 5}, "heads 5 is not a multiple of kv_heads 2"),
        ({"head_dim": 15}, "head_dim 15 is odd"),
        ({"input_len": 1}, "input_len 1"),
        ({"model_path": "a b"}, "model_path is"),
        ({"model_path": "a.Other"}, "does not end in class 'Llama'"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"class_name": "Llama"}, "unknown key 'class_name'"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Servable.from_dict({**TINY, **change})
    assert words in str(caught.value)


def test_all_problems_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Servable.from_dict(
            {**{k: v for k, v in TINY.items() if k != "vocab"}, "layers": -1, "x": 2}
        )
    for words in ("vocab is missing", "layers is -1", "unknown key 'x'"):
        assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null"])
def test_not_an_object(text: str) -> None:
    with pytest.raises(InputError):
        Servable.from_json(text)
