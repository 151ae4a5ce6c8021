"""The params class of SAX's model server, built from a deployment's `servable.json`.

SAX's own Llama classes fix sizes, lengths, mesh and tokenizer in code, and most of them serve
random weights (docs/model-classes.md). This module is added to SAX's registry once, in the image,
and registers one class per server: the one the file describes. It runs inside SAX's image under
Python 3.10 and can import nothing of saxflow's package.

Source: google/saxml v1.1.0 saxml/server/pax/lm/params/lm_cloud.py (BaseLLaMA), template.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jax import numpy as jnp
from saxml.server import servable_model_registry
from saxml.server.pax.lm.params.lm_cloud import BaseLLaMA

SERVABLE = Path(os.environ.get("SAXFLOW_SERVABLE", "/etc/saxflow/servable.json"))
DEFAULT_CLASS = "Llama"
IDS_TOKENIZER = "ids:"
SHORT_PROMPT = 128
"""Prompts up to this many tokens get a program of their own: most are short."""

ROPE_THETA = 10000.0
"""The only rotary base BaseLLaMA can express."""

COMPUTE_DTYPES = {"bfloat16": jnp.bfloat16, "float32": jnp.float32, "float16": jnp.float16}
INTEGERS = (
    "layers",
    "heads",
    "kv_heads",
    "head_dim",
    "model_dim",
    "hidden_dim",
    "vocab",
    "batch",
    "input_len",
    "max_new_tokens",
)


class ServableError(ValueError):
    """The servable's JSON is missing, wrong, or asks for what BaseLLaMA cannot express."""


def read_servable(path: Path) -> dict[str, Any]:
    """Return the parsed file.

    Raises:
        ServableError: it is missing, no JSON, or no object.
    """
    try:
        servable = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ServableError(
            f"{path}: {error.strerror}; mount the deployment's servable.json there,"
            " or name it in SAXFLOW_SERVABLE"
        ) from error
    except ValueError as error:
        raise ServableError(f"{path} is not JSON: {error}") from error
    if not isinstance(servable, dict):
        raise ServableError(f"{path} holds a {type(servable).__name__}; it must be an object")
    return servable


def check(servable: Mapping[str, Any]) -> None:
    """Raise ServableError, with every problem in it, unless BaseLLaMA can express the servable."""
    problems = [*_missing(servable), *_illegal(servable)] or _inexpressible(servable)
    if problems:
        raise ServableError("servable.json: " + "; ".join(problems))


def _missing(servable: Mapping[str, Any]) -> list[str]:
    required = (*INTEGERS, "tokenizer", "mesh", "stream", "compute_dtype", "norm_eps")
    return [f"{key} is missing" for key in required if key not in servable]


def _illegal(servable: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} is {servable[key]!r}; it must be {wanted}"
        for keys, legal, wanted in _RULES
        for key in keys
        if key in servable and not legal(servable[key])
    ]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 < value < float("inf")


def _is_mesh(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_count, value))


def _is_tokenizer(value: Any) -> bool:
    return value == IDS_TOKENIZER or str(value).startswith(("gs://", "file:///"))


_RULES = (
    (INTEGERS, _is_count, "a positive integer"),
    (("norm_eps", "rope_theta"), _is_positive, "a positive number"),
    (("mesh",), _is_mesh, "three positive integers [replica, data_mdl2, mdl]"),
    (("stream",), lambda value: isinstance(value, bool), "true or false"),
    (("tokenizer",), _is_tokenizer, "gs://..., file:///... or `ids:`"),
    (("compute_dtype",), tuple(COMPUTE_DTYPES).__contains__, " or ".join(COMPUTE_DTYPES)),
)
"""Keys -> test of a value -> what would be right."""


def _inexpressible(servable: Mapping[str, Any]) -> list[str]:
    theta = servable.get("rope_theta", ROPE_THETA)
    checks = {
        f"rope_theta is {theta:g}; SAX v1.1.0 fixes it at {ROPE_THETA:g},"
        " serve this model with a later SAX": theta != ROPE_THETA,
        f"heads {servable['heads']} is not a multiple of kv_heads {servable['kv_heads']}": (
            servable["heads"] % servable["kv_heads"] != 0
        ),
        f"one KV head for {servable['heads']} heads; SAX's grouped-query attention needs two": (
            servable["kv_heads"] == 1 and servable["heads"] > 1
        ),
        f"heads {servable['heads']} times head_dim {servable['head_dim']} is not model_dim"
        f" {servable['model_dim']}": (
            servable["heads"] * servable["head_dim"] != servable["model_dim"]
        ),
        "tokenizer `ids:` cannot stream in SAX; set stream to false": (
            servable["tokenizer"] == IDS_TOKENIZER and servable["stream"]
        ),
    }
    return [text for text, wrong in checks.items() if wrong]


def attributes(servable: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class attributes BaseLLaMA wants, from a servable that `check` let pass."""
    return {
        **_architecture(servable),
        **_serving(servable),
        **_tokenizer(servable["tokenizer"]),
    }


def _architecture(servable: Mapping[str, Any]) -> dict[str, Any]:
    dtype = COMPUTE_DTYPES[servable["compute_dtype"]]
    grouped = servable["kv_heads"] != servable["heads"]
    shape = {
        "NUM_LAYERS": servable["layers"],
        "NUM_HEADS": servable["heads"],
        "DIMS_PER_HEAD": servable["head_dim"],
        "MODEL_DIMS": servable["model_dim"],
        "HIDDEN_DIMS": servable["hidden_dim"],
        "VOCAB_SIZE": servable["vocab"],
        "RMS_NORM_EPSILON": servable["norm_eps"],
        "FPROP_DTYPE": dtype,
        "MODEL_DTYPE": dtype,
        "USE_MQA": grouped,
    }
    return {**shape, "NUM_KV_HEADS": servable["kv_heads"]} if grouped else shape


def _serving(servable: Mapping[str, Any]) -> dict[str, Any]:
    longest = servable["input_len"]
    return {
        "ICI_MESH_SHAPE": list(servable["mesh"]),
        "BATCH_SIZE": [servable["batch"]],
        "INPUT_SEQ_LEN": longest,
        "BUCKET_KEYS": sorted({min(SHORT_PROMPT, longest), longest}),
        "MAX_DECODE_STEPS": [servable["max_new_tokens"]],
        "ENABLE_GENERATE_STREAM": servable["stream"],
        "EXTRA_INPUTS": {
            **BaseLLaMA.EXTRA_INPUTS,
            "temperature": 0.0,
            "per_example_max_decode_steps": servable["max_new_tokens"],
        },
    }


def _tokenizer(uri: str) -> dict[str, Any]:
    if uri == IDS_TOKENIZER:
        return {"SPM_MODEL": uri, "TOKENIZED_INPUT": True, "TOKENIZED_OUTPUT": True}
    return {"SPM_MODEL": uri.removeprefix("file://")}


def params_class(servable: Mapping[str, Any]) -> type[BaseLLaMA]:
    """Return the class a servable describes, under the servable's own name for it.

    Raises:
        ServableError: see `check`.
    """
    check(servable)
    body = {
        **attributes(servable),
        "__module__": __name__,
        "__doc__": f"{servable['layers']} layers of width {servable['model_dim']}, from data.",
        "test_mode": property(lambda self: False),
    }
    return type(_class_name(servable), (BaseLLaMA,), body)


def _class_name(servable: Mapping[str, Any]) -> str:
    return servable.get("class", DEFAULT_CLASS)


def register(servable: Mapping[str, Any]) -> type[BaseLLaMA] | None:
    """Register the described class, unless the deployment forces one of SAX's own.

    Raises:
        ServableError: see `check`; or model_path names another class of this module.
    """
    name = f"{__name__}.{_class_name(servable)}"
    promised = str(servable.get("model_path", name))
    if not promised.startswith(f"{__name__}."):
        return None
    if promised != name:
        raise ServableError(f"servable.json: model_path is {promised!r}, class makes it {name}")
    return servable_model_registry.register(params_class(servable))


Llama = register(read_servable(SERVABLE))
