"""What is known about a source of weights without reading tensor data.

Functions, the plan and the converter all speak of the same facts, so they live below all three:
the files of a source, the dimensions its `params.json` or `config.json` promises, and the fingerprint that names a
converted checkpoint.

Source: meta-llama/llama `llama/model.py` (ModelArgs, FeedForward), huggingface/transformers
models/llama/configuration_llama.py, design.md sections 4 and 6.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from saxflow.errors import WeightsError

CONVERTER_VERSION = "1"
"""Part of every fingerprint: raise it when the bytes the converter writes change."""

META_SHARD = re.compile(r"consolidated\.(\d+)\.pth")
"""Name of one of Meta's tensor-parallel shards; the group is its number."""

LONGEST = 2**31 - 1
"""No axis of an array may be longer; more is a damaged document."""


@dataclass(frozen=True)
class Dimensions:
    """The numbers that fix every shape of a Llama.

    Args:
        layers: number of transformer blocks.
        model_dim: D, width of the residual stream.
        heads: H, query heads.
        kv_heads: K, key and value heads; equal to `heads` for multi-head attention.
        head_dim: h, width of one head.
        hidden_dim: F, width of the feed-forward layer.
        vocab: V, rows of the embedding.
        norm_eps: epsilon of RMSNorm.
        rope_theta: base of the rotary frequencies.
    """

    layers: int
    model_dim: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden_dim: int
    vocab: int
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0

    @property
    def parameters(self) -> int:
        """Number of weights stored in a Pax checkpoint."""
        attention = self.model_dim * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        feed_forward = 3 * self.model_dim * self.hidden_dim
        per_layer = attention + feed_forward + 2 * self.model_dim
        return self.layers * per_layer + 2 * self.vocab * self.model_dim + self.model_dim

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in declaration order, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, order=True)
class SourceFile:
    """One file of a source, as a listing tells it.

    Args:
        name: relative to the source, for example `consolidated.00.pth`.
        size_bytes: length.
        digest: what identifies the content: base64 crc32c on gs://, a digest of the archive's
            index on a local disk.
        generation: Cloud Storage generation; None for local files.
    """

    name: str
    size_bytes: int
    digest: str
    generation: str | None = None


def hidden_dim_of(model_dim: int, multiple_of: int, ffn_dim_multiplier: float | None) -> int:
    """Return F by Meta's rule: 2/3 of 4D, scaled, rounded up to `multiple_of`.

    Source: meta-llama/llama llama/model.py, FeedForward.__init__.
    """
    hidden = int(2 * (4 * model_dim) / 3)
    if ffn_dim_multiplier is not None:
        hidden = int(ffn_dim_multiplier * hidden)
    return multiple_of * ((hidden + multiple_of - 1) // multiple_of)


def dimensions_of_params(params: Mapping[str, Any], *, vocab: int | None = None) -> Dimensions:
    """Read Meta's `params.json`.

    Args:
        params: the parsed document.
        vocab: rows of `tok_embeddings.weight`; decides when `vocab_size` is -1 or absent.

    Raises:
        WeightsError: a field is missing, is no positive number, or does not divide; the message
            names the field and its value.
    """
    model_dim = _positive(params, "dim")
    heads = _positive(params, "n_heads")
    layers = _positive(params, "n_layers")
    kv_heads = _positive(params, "n_kv_heads") if params.get("n_kv_heads") is not None else heads
    multiple_of = _positive(params, "multiple_of") if "multiple_of" in params else 256
    declared = params.get("vocab_size", -1)
    if declared != -1 and not _is_length(declared):
        raise WeightsError(
            f"params.json: vocab_size is {declared!r}; it must be a positive integer or -1"
        )
    rows = vocab if declared == -1 else declared
    if rows is None:
        raise WeightsError(
            "params.json: vocab_size is -1, so the rows of tok_embeddings.weight decide;"
            " they are not known here"
        )
    if model_dim % heads:
        raise WeightsError(f"params.json: dim {model_dim} is not a multiple of n_heads {heads}")
    if heads % kv_heads:
        raise WeightsError(
            f"params.json: n_heads {heads} is not a multiple of n_kv_heads {kv_heads}"
        )
    multiplier = params.get("ffn_dim_multiplier")
    return Dimensions(
        layers=layers,
        model_dim=model_dim,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=model_dim // heads,
        hidden_dim=hidden_dim_of(
            model_dim,
            multiple_of,
            _number(params, "ffn_dim_multiplier", LONGEST) if multiplier is not None else None,
        ),
        vocab=rows,
        norm_eps=_number(params, "norm_eps") if "norm_eps" in params else 1e-5,
        rope_theta=_number(params, "rope_theta") if "rope_theta" in params else 10000.0,
    )


def dimensions_of_config(config: Mapping[str, Any]) -> Dimensions:
    """Read `config.json` of a Llama.

    Raises:
        WeightsError: it is another model, uses what a Pax Llama cannot express, or lacks a field.
    """
    _refuse_other_models(config)
    width = _config_integer(config, "hidden_size")
    heads = _config_integer(config, "num_attention_heads")
    kv_heads = _config_integer(config, "num_key_value_heads", heads)
    if width % heads or heads % kv_heads:
        raise WeightsError(
            f"config.json: hidden_size {width}, num_attention_heads {heads} and"
            f" num_key_value_heads {kv_heads} do not divide"
        )
    return Dimensions(
        layers=_config_integer(config, "num_hidden_layers"),
        model_dim=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_config_integer(config, "head_dim", width // heads),
        hidden_dim=_config_integer(config, "intermediate_size"),
        vocab=_config_integer(config, "vocab_size"),
        norm_eps=_config_number(config, "rms_norm_eps", 1e-5),
        rope_theta=_rope_theta(config),
    )


def fingerprint(files: Sequence[SourceFile], *, dtype: str, layout: Mapping[str, Any]) -> str:
    """Return the 12 hex digits that name a converted checkpoint's directory.

    Args:
        files: the tensor files and params.json (not the tokenizer); order does not matter.
        dtype: `float16` or `bfloat16`.
        layout: everything else that decides the bytes: `{"mesh", "max_chunk_bytes", "compressor"}`.
    """
    canonical = json.dumps(
        {
            "converter": CONVERTER_VERSION,
            "dtype": dtype,
            "files": [[f.name, f.size_bytes, f.digest] for f in sorted(files)],
            "layout": dict(sorted(layout.items())),
        },
        separators=(",", ":"),
        sort_keys=True,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def shards_by_number(names: Iterable[str], where: str = "") -> dict[int, str]:
    """Return number -> name of the Meta shards among the names.

    Args:
        where: starts the message.

    Raises:
        WeightsError: two names stand for one number.
    """
    found: dict[int, str] = {}
    for name in sorted(names):
        if match := META_SHARD.fullmatch(name):
            other = found.setdefault(int(match[1]), name)
            if other != name:
                raise WeightsError(
                    f"{where}{other} and {name} both name shard {int(match[1])};"
                    " keep the one that belongs to the model"
                )
    return found


def _positive(params: Mapping[str, Any], key: str) -> int:
    return _length("params.json", key, params.get(key))


def _length(document: str, key: str, value: Any) -> int:
    if not _is_length(value):
        raise WeightsError(
            f"{document}: {key} is {value!r}; it must be a positive integer below {LONGEST + 1}"
        )
    return value


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LONGEST


def _number(params: Mapping[str, Any], key: str, largest: float = sys.float_info.max) -> float:
    return _finite("params.json", key, params.get(key), largest)


def _finite(document: str, key: str, value: Any, largest: float = sys.float_info.max) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= largest:
        raise WeightsError(
            f"{document}: {key} is {value!r}; it must be a positive number, at most {largest:g}"
        )
    return float(value)


def _refuse_other_models(config: Mapping[str, Any]) -> None:
    if config.get("model_type", "llama") != "llama":
        raise WeightsError(
            f"config.json: model_type is {config['model_type']!r}; only llama can be served"
        )
    for field in ("rope_scaling", "rope_parameters"):
        scaling = _rope_object(config, field)
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind not in (None, "default"):
            raise WeightsError(
                f"config.json: {field} {kind!r} cannot be served by SAX;"
                " use Llama 2 or Llama 3 weights"
            )
    for field, wanted in {
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "quantization_config": None,
    }.items():
        if config.get(field, wanted) != wanted:
            raise WeightsError(
                f"config.json: {field} is {config[field]!r}; a Pax Llama needs {wanted!r}"
            )


def _rope_object(config: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = config.get(field) or {}
    if not isinstance(value, dict):
        raise WeightsError(f"config.json: {field} is {value!r}; an object or null was expected")
    return cast("dict[str, Any]", value)


def _rope_theta(config: Mapping[str, Any]) -> float:
    newer = _rope_object(config, "rope_parameters").get("rope_theta")
    return _config_number(config, "rope_theta", 10000.0 if newer is None else newer)


def _config_integer(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    return _length("config.json", key, default if value is None else value)


def _config_number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    return _finite("config.json", key, default if value is None else value)
