"""Hugging Face's format: `*.safetensors` beside `config.json`.

A safetensors file is a length, a JSON header and raw little-endian data, so the header is the
whole index. Query and key rows are stored half-split per head (transformers' rotary); Pax, like
Meta, interleaves them: `Matrix.rotary_head` says so to the engine.

Source: huggingface/safetensors README (format), huggingface/transformers
models/llama/convert_llama_weights_to_hf.py (`permute`), models/llama/configuration_llama.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from saxflow.checkpoint.directory import Directory, Entry
from saxflow.checkpoint.matrices import ELEMENT_BYTES, Matrix, Part, tensor_shape
from saxflow.errors import WeightsError
from saxflow.weights import Dimensions

MAX_HEADER_BYTES = 16 << 20
DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
LAYER_NAMES = {
    "attention.wq.weight": "self_attn.q_proj.weight",
    "attention.wk.weight": "self_attn.k_proj.weight",
    "attention.wv.weight": "self_attn.v_proj.weight",
    "attention.wo.weight": "self_attn.o_proj.weight",
    "feed_forward.w1.weight": "mlp.gate_proj.weight",
    "feed_forward.w2.weight": "mlp.down_proj.weight",
    "feed_forward.w3.weight": "mlp.up_proj.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
}
"""Meta's name of a layer's tensor -> Hugging Face's."""

TOP_NAMES = {
    "tok_embeddings.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
IGNORED = re.compile(r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


@dataclass(frozen=True)
class Header:
    """One indexed safetensors file."""

    name: str
    tensors: Mapping[str, Part]
    digest: str


def read_headers(
    files: Directory, entries: Mapping[str, Entry], index: Mapping[str, Any] | None
) -> list[Header]:
    """Index every tensor file.

    Args:
        index: the parsed `model.safetensors.index.json`, None when there is none.

    Raises:
        WeightsError: a file that the index names is missing, or a header is damaged.
    """
    names = sorted(name for name in entries if name.endswith(".safetensors"))
    if index is not None:
        names = _indexed_files(index)
    elif len(names) > 1:
        raise WeightsError(
            f"{files.uri} has {len(names)} safetensors files but no model.safetensors.index.json"
        )
    missing = [name for name in names if name not in entries]
    if missing:
        raise WeightsError(
            f"{missing[0]} is missing, though model.safetensors.index.json names it;"
            " upload every file of the model"
        )
    return [read_header(files, name, entries[name]) for name in names]


def _indexed_files(index: Mapping[str, Any]) -> list[str]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and "/" not in name and name.endswith(".safetensors")
        for name in weight_map.values()
    ):
        raise WeightsError(
            "model.safetensors.index.json: weight_map must map tensors to files"
            " named *.safetensors beside it"
        )
    return sorted(set(weight_map.values()))


def read_header(files: Directory, name: str, entry: Entry) -> Header:
    """Index one file.

    Raises:
        WeightsError: the header is damaged, or tensors overlap or reach outside the file.
    """
    length = int.from_bytes(files.read(name, 0, 8), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, entry.size_bytes - 8):
        raise WeightsError(f"{name} is no safetensors file: its header would have {length} bytes")
    raw = files.read(name, 8, length)
    try:
        header = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name}: the safetensors header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{name}: the safetensors header is no object")
    header.pop("__metadata__", None)
    _check_coverage(name, header, entry.size_bytes - 8 - length)
    parts = {
        tensor: _part(name, tensor, facts, 8 + length)
        for tensor, facts in header.items()
        if not IGNORED.fullmatch(tensor)
    }
    return Header(name, parts, sha256(raw).hexdigest()[:32])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; the format forbids a name twice, and readers differ in which counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name appears twice")
    return found


def _check_coverage(name: str, header: Mapping[str, Any], data_bytes: int) -> None:
    """Refuse tensors that overlap, leave holes or reach outside the file."""
    try:
        spans = sorted(tuple(facts["data_offsets"]) for facts in header.values())
        place = 0
        for start, end in spans:
            if type(start) is not int or type(end) is not int:
                raise TypeError("a place in the file that is no integer")
            if start != place or end < start:
                raise WeightsError(f"{name} is damaged: tensors overlap or leave a hole at {place}")
            place = end
    except (TypeError, KeyError, ValueError) as error:
        raise WeightsError(f"{name}: a tensor's entry in the header is incomplete") from error
    if place != data_bytes:
        raise WeightsError(
            f"{name} is truncated or damaged: {data_bytes} bytes of tensors, {place} promised"
        )


def _part(file: str, tensor: str, facts: Mapping[str, Any], data_start: int) -> Part:
    dtype = DTYPES.get(str(facts.get("dtype")))
    shape = facts.get("shape")
    if dtype is None:
        raise WeightsError(
            f"{file}: tensor {tensor} has dtype {facts.get('dtype')}; only {', '.join(DTYPES)}"
            " can be converted"
        )
    if not isinstance(shape, list) or len(shape) not in (1, 2) or not all(map(_is_size, shape)):
        raise WeightsError(f"{file}: tensor {tensor} has shape {shape}; one or two axes are needed")
    rows, cols = (1, *shape)[-2:]
    start, end = facts["data_offsets"]
    row_bytes = cols * ELEMENT_BYTES[dtype]
    if end - start != rows * row_bytes:
        raise WeightsError(
            f"{file}: tensor {tensor} of shape {shape} has {end - start} bytes of {dtype}"
        )
    return Part(file, data_start + start, row_bytes, rows, cols, dtype)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def matrices(
    headers: Sequence[Header], dims: Dimensions, *, tied: bool
) -> tuple[dict[str, Matrix], tuple[str, ...]]:
    """Return the model's matrices by Meta's names, and the names of tensors left out.

    Args:
        tied: the output layer is the embedding.

    Raises:
        WeightsError: a tensor is missing, unknown, stored twice or of the wrong shape.
    """
    stored = _all_tensors(headers)
    if dims.layers > len(stored):
        raise WeightsError(
            f"config.json: num_hidden_layers is {dims.layers}, but there are {len(stored)} tensors"
        )
    names = {**TOP_NAMES, **_layer_names(dims.layers)}
    ignored: tuple[str, ...] = ()
    if tied:
        names["output.weight"] = TOP_NAMES["tok_embeddings.weight"]
        ignored = tuple({TOP_NAMES["output.weight"]} & set(stored))
    strangers = sorted(set(stored) - set(names.values()) - set(ignored))
    if strangers:
        raise WeightsError(
            f"{stored[strangers[0]].file} holds tensor {strangers[0]}, which this Llama has no"
            " place for; config.json and the weights belong to different models"
        )
    found = {name: _matrix(name, theirs, stored, dims) for name, theirs in names.items()}
    return found, ignored


def _layer_names(layers: int) -> dict[str, str]:
    return {
        f"layers.{layer}.{ours}": f"model.layers.{layer}.{theirs}"
        for layer in range(layers)
        for ours, theirs in LAYER_NAMES.items()
    }


def _all_tensors(headers: Sequence[Header]) -> dict[str, Part]:
    stored: dict[str, Part] = {}
    for header in headers:
        for tensor, part in header.tensors.items():
            if tensor in stored:
                raise WeightsError(f"tensor {tensor} is in {stored[tensor].file} and {part.file}")
            stored[tensor] = part
    return stored


def _matrix(name: str, theirs: str, stored: Mapping[str, Part], dims: Dimensions) -> Matrix:
    part = stored.get(theirs)
    if part is None:
        raise WeightsError(f"tensor {theirs} is missing; the model is incomplete")
    shape = tensor_shape(name, dims)
    if (part.rows, part.cols) != shape:
        raise WeightsError(
            f"{part.file}: tensor {theirs} has shape {[part.rows, part.cols]};"
            f" config.json implies {list(shape)}"
        )
    rotary = dims.head_dim if name.endswith((".wq.weight", ".wk.weight")) else 0
    return Matrix(name, *shape, (part,), rotary_head=rotary)
