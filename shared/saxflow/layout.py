"""Where every byte of a converted checkpoint lies: variables, chunks, objects, markers.

The converter, the function that accounts for its objects and the reader of a checkpoint must agree
to the byte, so the agreement is one pure module that needs no array library.

Source: google/saxml saxml/tools/convert_llama_ckpt.py v1.1.0 (names and shapes), zarr v2
specification (chunk keys, `.zarray`), google/orbax type_handlers (metadata, commit markers).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod
from typing import Any

from saxflow.errors import InputError
from saxflow.weights import Dimensions

MAX_CHUNK_BYTES = 64 << 20
STEP_DIRECTORY = "checkpoint_00000000"
PREFIX = "mdl_vars.params.lm."
MARKERS = (
    "metadata/commit_success.txt",
    "state/commit_success.txt",
    "commit_success.txt",
)
"""Commit markers relative to the step directory, in the order in which they are written."""

ITEMSIZE = {"float16": 2, "bfloat16": 2}
ZARR_DTYPE = {"float16": "<f2", "bfloat16": "bfloat16"}
COMPRESSORS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "zstd": {"id": "zstd", "level": 1},
    "blosc": {"blocksize": 0, "clevel": 1, "cname": "lz4", "id": "blosc", "shuffle": 1},
}
_SOURCE_FILE = re.compile(
    r"consolidated\.\d+\.pth|params\.json|config\.json|.*\.safetensors(\.index\.json)?"
)


@dataclass(frozen=True)
class Variable:
    """One array of a Pax checkpoint.

    Args:
        name: as its directory under `state/`, for example `mdl_vars.params.lm.final_ln.scale`.
        shape: unpadded shape.
        mdl_axis: the axis that the serving mesh shards, None for replicated variables.
        cut_axes: axes to cut further when a chunk is too large, in this order; along them the
            source is read in whole rows.
    """

    name: str
    shape: tuple[int, ...]
    mdl_axis: int | None
    cut_axes: tuple[int, ...] = ()


@dataclass(frozen=True)
class ObjectPlan:
    """One object below the step directory; `size_bytes` is None when compression decides it."""

    name: str
    size_bytes: int | None


@dataclass(frozen=True)
class Chunk:
    """One zarr chunk: object `name`, grid `index`, and its `shape` (padding included)."""

    variable: Variable
    index: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Object name relative to the step directory."""
        return f"state/{self.variable.name}/{chunk_key(self.index)}"

    @property
    def start(self) -> tuple[int, ...]:
        """First element of the chunk on each axis."""
        return tuple(i * n for i, n in zip(self.index, self.shape, strict=True))

    @property
    def stop(self) -> tuple[int, ...]:
        """One past the last element that is no padding, on each axis."""
        ends = zip(self.start, self.shape, self.variable.shape, strict=True)
        return tuple(min(start + length, whole) for start, length, whole in ends)

    def size_bytes(self, itemsize: int) -> int:
        """Bytes of the uncompressed chunk."""
        return prod(self.shape) * itemsize


def is_source_file(name: str) -> bool:
    """Return whether a file of a weights directory decides the bytes of the checkpoint.

    These files, and no others, enter the fingerprint: tensors and the dimensions' document, not
    the tokenizer.
    """
    return _SOURCE_FILE.fullmatch(name) is not None


def pax_variables(dims: Dimensions) -> tuple[Variable, ...]:
    """Return every variable of a Llama's Pax checkpoint except `step`, in a fixed order."""
    vocab, width = dims.vocab, dims.model_dim
    layers = (v for layer in range(dims.layers) for v in _layer_variables(dims, layer))
    return (
        Variable(f"{PREFIX}embedding_lookup.emb_var", (vocab, width), 0, (0, 1)),
        *layers,
        Variable(f"{PREFIX}final_ln.scale", (width,), None),
        Variable(f"{PREFIX}softmax.logits_ffn.linear.w", (width, vocab), 1, (1, 0)),
    )


def _layer_variables(dims: Dimensions, layer: int) -> Iterator[Variable]:
    width, hidden = dims.model_dim, dims.hidden_dim
    heads = (width, dims.heads, dims.head_dim)
    kv_heads = (width, dims.kv_heads, dims.head_dim)
    at = f"{PREFIX}transformer.x_layers_{layer}."
    yield Variable(f"{at}layer_norm.scale", (width,), None)
    if dims.heads == dims.kv_heads:
        yield Variable(f"{at}self_attention.combined_qkv.w", (3, *heads), 2, (0, 2, 1))
    else:
        yield Variable(f"{at}self_attention.query.w", heads, 1, (1, 0))
        yield Variable(f"{at}self_attention.key.w", kv_heads, 1, (1, 0))
        yield Variable(f"{at}self_attention.value.w", kv_heads, 1, (1, 0))
    yield Variable(f"{at}self_attention.post.w", heads, 1, (0, 1))
    yield Variable(f"{at}ff_layer.layer_norm.scale", (width,), None)
    yield Variable(f"{at}ff_layer.ffn_layer1_gate.linear.w", (width, hidden), 1, (1, 0))
    yield Variable(f"{at}ff_layer.ffn_layer1.linear.w", (width, hidden), 1, (1, 0))
    yield Variable(f"{at}ff_layer.ffn_layer2.linear.w", (hidden, width), 0, (1, 0))


def chunk_grid(
    variable: Variable, *, mesh: int, max_chunk_bytes: int = MAX_CHUNK_BYTES, itemsize: int = 2
) -> tuple[int, ...]:
    """Return the chunk shape: ceil(n / mesh) on the mdl axis, cut further to fit the bound."""
    shape = list(variable.shape)
    if variable.mdl_axis is not None:
        shape[variable.mdl_axis] = ceil(shape[variable.mdl_axis] / mesh)
    for axis in variable.cut_axes:
        if prod(shape) * itemsize <= max_chunk_bytes:
            break
        slice_bytes = prod(shape) // shape[axis] * itemsize
        shape[axis] = _cut(shape[axis], longest=max(1, max_chunk_bytes // slice_bytes))
    return tuple(shape)


def _cut(length: int, *, longest: int) -> int:
    """Return the length of equal pieces that fit, by an exact division when one is near."""
    at_least = ceil(length / longest)
    candidates = range(at_least, min(length, 2 * at_least) + 1)
    return ceil(length / next((n for n in candidates if length % n == 0), at_least))


def chunk_key(index: Sequence[int]) -> str:
    """Return zarr's key of a chunk, for example `0.3`; a scalar's only chunk is `0`."""
    return ".".join(map(str, index)) or "0"


def chunks(
    variable: Variable, *, mesh: int, max_chunk_bytes: int = MAX_CHUNK_BYTES, itemsize: int = 2
) -> Iterator[Chunk]:
    """Yield a variable's chunks in C order."""
    shape = chunk_grid(variable, mesh=mesh, max_chunk_bytes=max_chunk_bytes, itemsize=itemsize)
    counts = (range(ceil(n / c)) for n, c in zip(variable.shape, shape, strict=True))
    for index in product(*counts):
        yield Chunk(variable, index, shape)


def all_chunks(dims: Dimensions, dtype: str, mesh: int) -> Iterator[Chunk]:
    """Yield the chunks of every variable, in the order of `pax_variables`."""
    for variable in pax_variables(dims):
        yield from chunks(variable, mesh=mesh, itemsize=itemsize_of(dtype))


def documents(dims: Dimensions, dtype: str, mesh: int, compressor: str) -> dict[str, bytes]:
    """Return the objects whose content is known without weights.

    These are every `.zarray`, `metadata/metadata` and the training step (an int32 zero, never
    compressed); names are relative to the step directory.
    """
    variables = pax_variables(dims)
    known = {
        "metadata/metadata": json.dumps(_metadata(variables, dtype)).encode(),
        "state/step/.zarray": zarray((), (), "<i4", None),
        "state/step/0": bytes(4),
    }
    for variable in variables:
        grid = chunk_grid(variable, mesh=mesh, itemsize=itemsize_of(dtype))
        known[f"state/{variable.name}/.zarray"] = zarray(
            variable.shape, grid, ZARR_DTYPE[dtype], compressor_settings(compressor)
        )
    return known


def objects(dims: Dimensions, dtype: str, mesh: int, compressor: str) -> Iterator[ObjectPlan]:
    """Yield every object below a finished step directory, commit markers aside."""
    for name, data in documents(dims, dtype, mesh, compressor).items():
        yield ObjectPlan(name, len(data))
    fixed = compressor_settings(compressor) is None
    itemsize = itemsize_of(dtype)
    for chunk in all_chunks(dims, dtype, mesh):
        yield ObjectPlan(chunk.name, chunk.size_bytes(itemsize) if fixed else None)


def layout_facts(mesh: int, compressor: str) -> dict[str, Any]:
    """Return what `weights.fingerprint` must know of the layout."""
    compressor_settings(compressor)
    return {"mesh": mesh, "max_chunk_bytes": MAX_CHUNK_BYTES, "compressor": compressor}


def marker_text(directory: str) -> str:
    """Return the text of the commit marker in a directory; only its existence counts for readers.

    Source: google/orbax checkpoint/utils.py, `commit_success.txt`.
    """
    return f"Checkpoint commit was successful to {directory}"


def marker_texts(parent: str) -> dict[str, bytes]:
    """Return the markers of the checkpoint below a directory, in the order they are written.

    Args:
        parent: path or URI of the directory that holds the step directory.
    """
    step = f"{parent.rstrip('/')}/{STEP_DIRECTORY}"
    return {
        marker: marker_text(f"{step}/{marker}".rpartition("/")[0]).encode() for marker in MARKERS
    }


def task_of(sizes: Sequence[int], count: int) -> list[int]:
    """Return for each chunk, in order, the Task that owns it.

    Tasks own consecutive runs of about equal bytes, so that chunks cut from the same rows of the
    source mostly stay together.
    """
    total = max(sum(sizes), 1)
    owners: list[int] = []
    before = 0
    for size in sizes:
        owners.append(min(count - 1, (2 * before + size) * count // (2 * total)))
        before += size
    return owners


def itemsize_of(dtype: str) -> int:
    """Return the bytes of one element.

    Raises:
        InputError: the checkpoint cannot be written in that dtype.
    """
    if dtype not in ITEMSIZE:
        raise InputError(f"dtype {dtype!r} is unknown; choose one of {', '.join(ITEMSIZE)}")
    return ITEMSIZE[dtype]


def compressor_settings(compressor: str) -> dict[str, Any] | None:
    """Return the `.zarray` entry of a compressor.

    Raises:
        InputError: there is no such compressor.
    """
    if compressor not in COMPRESSORS:
        raise InputError(
            f"compressor {compressor!r} is unknown; choose one of {', '.join(COMPRESSORS)}"
        )
    return COMPRESSORS[compressor]


def zarray(
    shape: tuple[int, ...],
    grid: tuple[int, ...],
    dtype: str,
    compressor: Mapping[str, Any] | None,
) -> bytes:
    """Return the `.zarray` document as tensorstore writes it: sorted keys, no spaces."""
    document = {
        "chunks": list(grid),
        "compressor": compressor,
        "dimension_separator": ".",
        "dtype": dtype,
        "fill_value": None,
        "filters": None,
        "order": "C",
        "shape": list(shape),
        "zarr_format": 2,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _metadata(variables: Sequence[Variable], dtype: str) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for variable in variables:
        *path, leaf = variable.name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[leaf] = {
            "_array_metadata_tag": True,
            "dtype": dtype,
            "is_optax_masked_node": False,
            "unpadded_shape": list(variable.shape),
        }
    return {"version": 1.1, "train_state_metadata": tree}
