"""Recognise a weights directory, index it, and make its documents and tensors agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from saxflow.checkpoint import hugging_face, meta
from saxflow.checkpoint.directory import Directory, Entry
from saxflow.checkpoint.matrices import Source
from saxflow.errors import NotFoundError, WeightsError
from saxflow.layout import is_source_file
from saxflow.weights import (
    META_SHARD,
    Dimensions,
    SourceFile,
    dimensions_of_config,
    dimensions_of_params,
)

MAX_DOCUMENT_BYTES = 16 << 20
_OTHER_FORMATS = {
    ".bin": "pytorch_model.bin of Hugging Face",
    ".gguf": "GGUF",
    ".h5": "HDF5",
    ".msgpack": "Flax msgpack",
    ".ckpt": "a training checkpoint",
    ".pt": "a torch file of unknown layout",
    ".pth": "a torch file that is not named consolidated.NN.pth",
    ".npz": "numpy",
}


def read_source(files: Directory) -> Source:
    """Index a source without reading tensor data.

    Raises:
        NotFoundError: there is no such directory, or it is empty.
        WeightsError: its format is unknown, a file is missing, unsafe or damaged, or documents
            and tensors disagree.
    """
    entries = files.entries(recursive=False)
    if not entries:
        gone = not files.uri.startswith("gs://") and not Path(files.uri).exists()
        wrong = "does not exist" if gone else "holds no files"
        raise NotFoundError(f"{files.uri} {wrong}; give the directory of the weights")
    if any(META_SHARD.fullmatch(name) for name in entries):
        return _read_meta(files, entries)
    if any(name.endswith(".safetensors") for name in entries):
        return _read_hugging_face(files, entries)
    raise _unknown_format(files.uri, entries)


def read_document(files: Directory, entries: Mapping[str, Entry], name: str) -> dict[str, Any]:
    """Return a JSON object of the source.

    Raises:
        WeightsError: it is missing, too large or no JSON object.
    """
    if name not in entries:
        raise WeightsError(f"{files.uri} lacks {name}; it belongs beside the weights")
    if entries[name].size_bytes > MAX_DOCUMENT_BYTES:
        raise WeightsError(
            f"{name} has {entries[name].size_bytes} bytes; it cannot be the document"
        )
    try:
        value = json.loads(files.read(name))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{name} holds {type(value).__name__}; an object was expected")
    return value


def _read_meta(files: Directory, entries: Mapping[str, Entry]) -> Source:
    meta.shard_names(entries)
    params = read_document(files, entries, "params.json")
    shards = meta.read_shards(files, entries)
    dims = _meta_dimensions(params, shards)
    digests = {shard.name: shard.digest for shard in shards}
    return Source(
        "meta",
        len(shards),
        dims,
        meta.matrices(shards, dims),
        source_files(files, entries, digests),
        params,
    )


def _read_hugging_face(files: Directory, entries: Mapping[str, Entry]) -> Source:
    config = read_document(files, entries, "config.json")
    dims = dimensions_of_config(config)
    index = "model.safetensors.index.json"
    weight_map = read_document(files, entries, index) if index in entries else None
    headers = hugging_face.read_headers(files, entries, weight_map)
    matrices, ignored = hugging_face.matrices(headers, dims, tied=_tied(config))
    digests = {header.name: header.digest for header in headers}
    return Source(
        "safetensors",
        len(headers),
        dims,
        matrices,
        source_files(files, entries, digests),
        config,
        ignored,
    )


def _tied(config: Mapping[str, Any]) -> bool:
    return config.get("tie_word_embeddings") is True


def source_files(
    files: Directory, entries: Mapping[str, Entry], indexes: Mapping[str, str]
) -> tuple[SourceFile, ...]:
    """Return what the fingerprint covers, with a digest for each file.

    Digests are crc32c from the listing on gs://; on a local disk the modification time with a
    digest of the archive's index, or of the whole document.
    """
    return tuple(
        SourceFile(name, entry.size_bytes, _digest(files, name, entry, indexes), entry.generation)
        for name, entry in sorted(entries.items())
        if is_source_file(name)
    )


def _digest(files: Directory, name: str, entry: Entry, indexes: Mapping[str, str]) -> str:
    if entry.crc32c is not None:
        return entry.crc32c
    if name in indexes or entry.size_bytes > MAX_DOCUMENT_BYTES:
        return f"{entry.changed}:{indexes.get(name, '')}"
    return sha256(files.read(name)).hexdigest()[:32]


def _meta_dimensions(params: Mapping[str, Any], shards: Sequence[meta.Shard]) -> Dimensions:
    """Return the dimensions that params.json and the tensors agree on."""
    if params.get("use_scaled_rope") or params.get("rope_scaling"):
        raise WeightsError(
            "params.json: scaled rotary embeddings (Llama 3.1 and later) cannot be served by SAX;"
            " use Llama 2 or Llama 3 weights"
        )
    count = len(shards)
    width = _shape_of(shards[0], "norm.weight")[-1]
    query = _shape_of(shards[0], "layers.0.attention.wq.weight")[0]
    if query and width % query == 0 and width // query > count:
        raise meta.missing_shard(count, count)
    embedding = _shape_of(shards[0], "tok_embeddings.weight")
    vocab = embedding[0] * (count if embedding[-1] == width else 1)
    dims = dimensions_of_params(params, vocab=vocab)
    gate = _shape_of(shards[0], "layers.0.feed_forward.w1.weight")[0]
    if dims.layers > len(shards[0].shapes):
        raise WeightsError(
            f"params.json: n_layers is {dims.layers}, but there are {len(shards[0].shapes)} tensors"
        )
    _agree("dim", dims.model_dim, width)
    _agree("n_layers", dims.layers, meta.layer_count(list(shards[0].shapes)))
    _agree("vocab_size", dims.vocab, vocab)
    _agree("multiple_of and ffn_dim_multiplier", dims.hidden_dim, gate * count)
    return dims


def _shape_of(shard: meta.Shard, tensor: str) -> tuple[int, ...]:
    shape = shard.shapes.get(tensor)
    if shape is None:
        raise WeightsError(f"{shard.name} lacks tensor {tensor}; it is no Llama of Meta's format")
    return shape


def _agree(field: str, promised: int, found: int) -> None:
    if promised != found:
        raise WeightsError(
            f"params.json: {field} gives {promised}, but the tensors have {found};"
            " the two belong to different models"
        )


def _unknown_format(uri: str, entries: Mapping[str, Entry]) -> WeightsError:
    for suffix, format_name in _OTHER_FORMATS.items():
        name = next((name for name in entries if name.endswith(suffix)), None)
        if name is not None:
            return WeightsError(
                f"{uri}: {name} is {format_name}, which is not supported; give Meta's"
                " consolidated.NN.pth with params.json, or safetensors with config.json"
            )
    return WeightsError(
        f"{uri} holds no weights (found {', '.join(list(entries)[:5])}); give Meta's"
        " consolidated.NN.pth with params.json, or safetensors with config.json"
    )
