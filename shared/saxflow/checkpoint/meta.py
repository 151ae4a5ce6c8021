"""Meta's format: `consolidated.NN.pth` shards beside `params.json`.

Each shard is a torch archive with the same tensor names; a tensor is cut over the shards along the
axis in `CUTS`, or repeated in each. Nothing here reads tensor data.

Source: meta-llama/llama llama/model.py (ColumnParallelLinear, RowParallelLinear, ParallelEmbedding),
meta-llama/llama3 llama/model.py (VocabParallelEmbedding).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256

from saxflow.checkpoint.archive import MAX_PICKLE_BYTES, Archive, read_archive
from saxflow.checkpoint.directory import Directory, Entry
from saxflow.checkpoint.matrices import ELEMENT_BYTES, LAYER, Matrix, Part, role_of, tensor_shape
from saxflow.checkpoint.pickled import TensorRef, tensors
from saxflow.errors import WeightsError
from saxflow.weights import Dimensions, shards_by_number

CUTS = {
    "attention.wq.weight": 0,
    "attention.wk.weight": 0,
    "attention.wv.weight": 0,
    "attention.wo.weight": 1,
    "feed_forward.w1.weight": 0,
    "feed_forward.w2.weight": 1,
    "feed_forward.w3.weight": 0,
    "attention_norm.weight": None,
    "ffn_norm.weight": None,
    "norm.weight": None,
    "output.weight": 0,
}
"""Tensor role -> axis along which it is cut over the shards; None: repeated in each."""

IGNORED = re.compile(r"rope\.freqs|layers\.\d+\.attention\.inner_attention\.rope\.freqs")


@dataclass(frozen=True)
class Shard:
    """One indexed `consolidated.NN.pth`."""

    name: str
    tensors: Mapping[str, Part]
    shapes: Mapping[str, tuple[int, ...]]
    digest: str


def shard_names(entries: Mapping[str, Entry]) -> list[str]:
    """Return the shards of a listing in order.

    Raises:
        WeightsError: a number between them is missing or there twice; the message names the files.
    """
    numbers = shards_by_number(entries)
    for number in range(max(numbers, default=-1) + 1):
        if number not in numbers:
            raise missing_shard(number, len(numbers))
    return [numbers[number] for number in sorted(numbers)]


def missing_shard(number: int, found: int) -> WeightsError:
    """Return the error for a shard that is not there."""
    return WeightsError(
        f"consolidated.{number:02}.pth is missing ({found} other shards are there);"
        " upload every shard of the model"
    )


def read_shards(files: Directory, entries: Mapping[str, Entry]) -> list[Shard]:
    """Index every shard, several at a time.

    Raises:
        WeightsError: a shard is missing, unsafe, damaged or of another format.
    """
    names = shard_names(entries)
    with ThreadPoolExecutor(max_workers=min(8, max(len(names), 1))) as pool:
        return list(pool.map(lambda name: read_shard(files, name, entries[name]), names))


def read_shard(files: Directory, name: str, entry: Entry) -> Shard:
    """Index one shard.

    Raises:
        WeightsError: it is unsafe, damaged or of another format.
    """
    archive = read_archive(files, name, entry.size_bytes)
    pickle = _content(files, name, archive, "data.pkl", MAX_PICKLE_BYTES)
    order = archive.entries.get("byteorder")
    if order is not None and files.read(name, order.start, min(order.size_bytes, 16)) != b"little":
        raise WeightsError(f"{name} was written by a big-endian machine; save it on a common one")
    described = tensors(pickle, name)
    kept = {key: ref for key, ref in described.items() if not IGNORED.fullmatch(key)}
    parts = {key: _part(name, key, ref, archive) for key, ref in kept.items()}
    digest = sha256(archive.directory + pickle).hexdigest()[:32]
    return Shard(name, parts, {key: ref.shape for key, ref in kept.items()}, digest)


def _content(files: Directory, name: str, archive: Archive, entry: str, limit: int) -> bytes:
    found = archive.entries.get(entry)
    if found is None:
        raise WeightsError(f"{name} is a zip archive without {entry}, so torch did not write it")
    if found.size_bytes > limit:
        raise WeightsError(
            f"{name}: {entry} has {found.size_bytes} bytes; at most {limit} are read"
        )
    return files.read(name, found.start, found.size_bytes)


def _part(file: str, tensor: str, ref: TensorRef, archive: Archive) -> Part:
    """Place a described tensor in the file.

    Raises:
        WeightsError: its dtype is no weight's, it is not stored row by row, or it reaches outside
            its storage.
    """
    what = f"{file}: tensor {tensor}"
    itemsize = ELEMENT_BYTES.get(ref.storage.dtype)
    if itemsize is None:
        raise WeightsError(
            f"{what} has dtype {ref.storage.dtype}; only {', '.join(ELEMENT_BYTES)} can be converted"
        )
    if len(ref.shape) not in (1, 2) or ref.elements == 0:
        raise WeightsError(f"{what} has shape {list(ref.shape)}; one or two axes were expected")
    rows, cols = (1, *ref.shape)[-2:]
    stride, step = (cols, *ref.strides)[-2:]
    if (step != 1 and cols > 1) or (stride < cols and rows > 1):
        raise WeightsError(
            f"{what} is not stored row by row (strides {list(ref.strides)});"
            " save it with .contiguous()"
        )
    storage = archive.entries.get(f"data/{ref.storage.key}")
    if storage is None:
        raise WeightsError(f"{what} has no data: entry data/{ref.storage.key} is missing")
    if storage.size_bytes != ref.storage.elements * itemsize:
        raise WeightsError(
            f"{what}: data/{ref.storage.key} has {storage.size_bytes} bytes;"
            f" {ref.storage.elements} elements of {ref.storage.dtype} were promised"
        )
    if ref.offset + (rows - 1) * stride + cols > ref.storage.elements:
        raise WeightsError(f"{what} reaches outside its storage data/{ref.storage.key}")
    start = storage.start + ref.offset * itemsize
    return Part(file, start, stride * itemsize, rows, cols, ref.storage.dtype)


def layer_count(names: Sequence[str]) -> int:
    """Return one more than the highest layer number among tensor names."""
    return max((int(m[1]) + 1 for name in names if (m := LAYER.fullmatch(name))), default=0)


def matrices(shards: Sequence[Shard], dims: Dimensions) -> dict[str, Matrix]:
    """Put every tensor of the model together over the shards.

    Raises:
        WeightsError: a tensor is missing or has a shape that contradicts the dimensions.
    """
    names = tensor_names(dims.layers)
    _refuse_strangers(shards, set(names))
    return {name: _matrix(name, shards, tensor_shape(name, dims), dims) for name in names}


def tensor_names(layers: int) -> list[str]:
    """Return the names of every tensor of a model with so many layers."""
    top = ("norm.weight", "output.weight")
    inner = [role for role in CUTS if role not in top]
    per_layer = [f"layers.{layer}.{role}" for layer in range(layers) for role in inner]
    return ["tok_embeddings.weight", *per_layer, *top]


def _refuse_strangers(shards: Sequence[Shard], known: set[str]) -> None:
    for shard in shards:
        strangers = sorted(set(shard.tensors) - known)
        if strangers:
            raise WeightsError(
                f"{shard.name} holds tensor {strangers[0]}, which this Llama has no place for;"
                " params.json and the weights belong to different models"
            )


def _matrix(name: str, shards: Sequence[Shard], shape: tuple[int, int], dims: Dimensions) -> Matrix:
    parts = [_of_shard(name, shard) for shard in shards]
    axis = _cut_axis(name, parts, shape)
    if axis is None:
        return _repeated(name, parts, shape)
    if name.endswith((".wk.weight", ".wv.weight")) and len(parts) > dims.kv_heads:
        return _replicated_heads(name, parts, shape, dims)
    return _joined(name, parts, shape, axis)


def _of_shard(name: str, shard: Shard) -> Part:
    part = shard.tensors.get(name)
    if part is None:
        raise WeightsError(f"{shard.name} lacks tensor {name}; the file is incomplete")
    return part


def _cut_axis(name: str, parts: Sequence[Part], shape: tuple[int, int]) -> int | None:
    """Return the axis along which shards are joined; the embedding's is told by its shape."""
    if name != "tok_embeddings.weight":
        return CUTS[role_of(name)]
    return 0 if parts[0].cols == shape[1] else 1


def _repeated(name: str, parts: Sequence[Part], shape: tuple[int, int]) -> Matrix:
    for part in parts:
        _check_shape(name, part, shape)
    group = (tuple(parts),) if len(parts) > 1 else ()
    return Matrix(name, *shape, (parts[0],), group)


def _joined(name: str, parts: Sequence[Part], shape: tuple[int, int], axis: int) -> Matrix:
    count = len(parts)
    if shape[axis] % count:
        raise WeightsError(f"{name}: {shape[axis]} cannot be cut over {count} shards")
    piece = (shape[0] // count, shape[1]) if axis == 0 else (shape[0], shape[1] // count)
    placed: list[Part] = []
    for i, part in enumerate(parts):
        _check_shape(name, part, piece)
        row, col = (i * piece[0], 0) if axis == 0 else (0, i * piece[1])
        placed.append(replace(part, row=row, col=col))
    return Matrix(name, *shape, tuple(placed))


def _replicated_heads(
    name: str, parts: Sequence[Part], shape: tuple[int, int], dims: Dimensions
) -> Matrix:
    """Join key or value heads where several shards hold the same head."""
    copies, odd = divmod(len(parts), dims.kv_heads)
    if odd:
        raise WeightsError(
            f"{name}: {dims.kv_heads} key and value heads do not spread over {len(parts)} shards"
        )
    groups = [tuple(parts[i : i + copies]) for i in range(0, len(parts), copies)]
    for part in parts:
        _check_shape(name, part, (dims.head_dim, shape[1]))
    placed = tuple(replace(group[0], row=i * dims.head_dim) for i, group in enumerate(groups))
    return Matrix(name, *shape, placed, tuple(groups))


def _check_shape(name: str, part: Part, shape: tuple[int, int]) -> None:
    if (part.rows, part.cols) != shape:
        raise WeightsError(
            f"{part.file}: tensor {name} has shape {[part.rows, part.cols]};"
            f" params.json and the other tensors imply {list(shape)}"
        )
