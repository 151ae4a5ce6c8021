"""Read a Pax checkpoint into the arrays of `llama`, each device its own share.

Where Pax would read a missing chunk as zeros or pad a wrong shape in silence, this refuses.

Source: facts of paxml 1.1.0 restore: zarr v2 arrays below `state/`, step directories of eight
digits, `commit_success.txt` on gs:// only; sharding of saxml v1.1.0 `template.py`
(`set_decoding_sharding_hparams`): heads, F and V are cut along `mdl`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import tensorstore as ts
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from saxflow.cell.llama import Layer, Params, Weights
from saxflow.errors import WeightsError
from saxflow.gcp.objects import Objects, Uri
from saxflow.settings import load_endpoints
from saxflow.weights import Dimensions

PREFIX = "mdl_vars.params.lm"
MARKER = "commit_success.txt"
_STEP = re.compile(r"checkpoint_\d{8}")
_READERS = 8


@dataclass(frozen=True)
class Source:
    """Where one array of `llama` comes from.

    Args:
        variable: Pax variable below `mdl_vars.params.lm`.
        shape: of the stored variable.
        pick: index taken on the first axis of a stacked variable, None for all of it.
        order: axes after the pick, in the order of the array wanted.
        sharded: axis of the array wanted that is cut along `mdl`, None for a copy everywhere.
    """

    variable: str
    shape: tuple[int, ...]
    pick: int | None = None
    order: tuple[int, ...] | None = None
    sharded: int | None = None

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the array wanted."""
        rest = self.shape if self.pick is None else self.shape[1:]
        return rest if self.order is None else tuple(rest[axis] for axis in self.order)


def sources(dims: Dimensions, *, combined: bool) -> Params[Source]:
    """Return the tree of `Source` that mirrors the tree of arrays.

    Args:
        combined: q, k and v are stored as one `combined_qkv.w` [3,D,H,h].
    """
    model, vocab = dims.model_dim, dims.vocab
    return Params(
        embedding=Source("embedding_lookup.emb_var", (vocab, model), sharded=0),
        layers=tuple(_layer(dims, i, combined) for i in range(dims.layers)),
        final_norm=Source("final_ln.scale", (model,)),
        output=Source("softmax.logits_ffn.linear.w", (model, vocab), sharded=1),
    )


def _layer(dims: Dimensions, index: int, combined: bool) -> Layer[Source]:
    model, hidden = dims.model_dim, dims.hidden_dim
    name = f"transformer.x_layers_{index}"
    attention = f"{name}.self_attention"

    def projection(position: int, part: str, heads: int) -> Source:
        shape = (model, heads, dims.head_dim)
        if combined:
            return Source(f"{attention}.combined_qkv.w", (3, *shape), position, sharded=1)
        return Source(f"{attention}.{part}.w", shape, sharded=1)

    def feed_forward(part: str, shape: tuple[int, int], sharded: int) -> Source:
        return Source(f"{name}.ff_layer.{part}.linear.w", shape, sharded=sharded)

    return Layer(
        attention_norm=Source(f"{name}.layer_norm.scale", (model,)),
        q=projection(0, "query", dims.heads),
        k=projection(1, "key", dims.kv_heads),
        v=projection(2, "value", dims.kv_heads),
        o=Source(
            f"{attention}.post.w", (model, dims.heads, dims.head_dim), None, (1, 2, 0), sharded=0
        ),
        ffn_norm=Source(f"{name}.ff_layer.layer_norm.scale", (model,)),
        gate=feed_forward("ffn_layer1_gate", (model, hidden), 1),
        up=feed_forward("ffn_layer1", (model, hidden), 1),
        down=feed_forward("ffn_layer2", (hidden, model), 0),
    )


def compute_dtype(name: str) -> Any:
    """Return the dtype arrays are held in.

    A CPU multiplies float32 several times faster than the half types, so there the weights are
    rounded to the type asked for and then computed with in float32.
    """
    wide = jax.default_backend() == "cpu"
    return np.dtype(np.float32) if wide else _half(name)


def _half(name: str) -> Any:
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def abstract(dims: Dimensions, dtype: str, mesh: Mesh) -> Weights:
    """Return shapes, dtypes and shardings of what `load` returns, for compiling ahead of it."""
    held = compute_dtype(dtype)

    def struct(source: Any) -> Any:
        sharding = NamedSharding(mesh, _partition(source, mesh))
        return jax.ShapeDtypeStruct(source.result_shape, held, sharding=sharding)

    return jax.tree.map(struct, sources(dims, combined=True), is_leaf=_is_source)


def _is_source(node: Any) -> bool:
    return isinstance(node, Source)


def load(checkpoint: str, dims: Dimensions, dtype: str, mesh: Mesh) -> Weights:
    """Restore all weights of the step directory `checkpoint`.

    Args:
        checkpoint: local path, file:/// or gs:// URI of `.../checkpoint_<8 digits>`.
        dtype: `float32`, `bfloat16` or `float16`: what the weights are rounded to.
        mesh: one axis, `mdl`; every process calls this and reads what its devices hold.

    Raises:
        WeightsError: no committed step directory there, or a variable is missing, incomplete or of
            another shape than the dimensions say.
    """
    root = checkpoint.rstrip("/")
    _aim_tensorstore()
    _check_committed(root)
    combined = _exists(
        f"{root}/state/{PREFIX}.transformer.x_layers_0.self_attention.combined_qkv.w"
    )
    wanted = sources(dims, combined=combined)
    held = compute_dtype(dtype)

    def read(source: Any) -> jax.Array:
        return _read(root, source, _half(dtype), held, mesh)

    leaves, tree = jax.tree.flatten(wanted, is_leaf=_is_source)
    with ThreadPoolExecutor(_READERS) as pool:
        return jax.tree.unflatten(tree, list(pool.map(read, leaves)))


def _read(root: str, source: Source, rounded: Any, held: Any, mesh: Mesh) -> jax.Array:
    name = f"{PREFIX}.{source.variable}"
    stored = _open(f"{root}/state/{name}", name)
    if tuple(stored.shape) != source.shape:
        raise WeightsError(
            f"{name} has shape {list(stored.shape)}; servable.json asks for {list(source.shape)}"
        )
    view = stored if source.pick is None else stored[source.pick]
    if source.order is not None:
        view = view[ts.d[source.order].transpose[:]]
    sharding = NamedSharding(mesh, _partition(source, mesh))
    shape = source.result_shape

    def shard(index: tuple[slice, ...] | None) -> np.ndarray[Any, Any]:
        try:
            piece = np.asarray(view[index or ...].read().result())
        except ValueError as error:
            raise WeightsError(f"{name}: {_first_line(error)}") from error
        return np.ascontiguousarray(piece.astype(rounded).astype(held))

    return jax.make_array_from_callback(shape, sharding, shard)


def _partition(source: Source, mesh: Mesh) -> PartitionSpec:
    """Cut the axis that Pax cuts, or copy where the devices do not divide it."""
    axis, shape = source.sharded, source.result_shape
    if axis is None or shape[axis] % mesh.size:
        return PartitionSpec()
    return PartitionSpec(*("mdl" if position == axis else None for position in range(len(shape))))


def _open(uri: str, name: str) -> Any:
    spec = {
        "driver": "zarr",
        "kvstore": kvstore(uri),
        "fill_missing_data_reads": False,
    }
    try:
        return ts.open(spec, read=True, open=True, context=_context()).result()
    except ValueError as error:
        raise WeightsError(f"{name} cannot be opened: {_first_line(error)}") from error


def kvstore(uri: str) -> dict[str, Any]:
    """Return TensorStore's description of a directory: local path, file:/// or gs:// URI."""
    if not uri.startswith("gs://"):
        return {"driver": "file", "path": f"{uri.removeprefix('file://')}/"}
    parsed = Uri.parse(uri)
    return {"driver": "gcs", "bucket": parsed.bucket, "path": f"{parsed.name}/"}


def _aim_tensorstore() -> None:
    """Point TensorStore, which reads the environment at its first gs:// access, at the emulator."""
    root = load_endpoints().storage
    if root is None:
        return
    os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", root if "://" in root else f"http://{root}")
    os.environ.setdefault("GOOGLE_AUTH_TOKEN_FOR_TESTING", "local")
    os.environ.setdefault("GCE_METADATA_ROOT", "127.0.0.1:1")


def _context() -> Any:
    return ts.Context({"cache_pool": {"total_bytes_limit": 0}})


def _check_committed(root: str) -> None:
    step = root.rpartition("/")[2]
    if not _STEP.fullmatch(step):
        raise WeightsError(
            f"checkpoint path {root!r} must end in a step directory such as checkpoint_00000000"
        )
    for needed in _needed(root):
        if not _exists(needed):
            raise WeightsError(f"checkpoint {root} is incomplete: {needed} is missing")


def _needed(root: str) -> Iterator[str]:
    if root.startswith("gs://"):
        for directory in ("", "/state", "/metadata"):
            yield f"{root}{directory}/{MARKER}"
    yield f"{root}/state/step/.zarray"
    yield f"{root}/metadata/metadata"


def _exists(uri: str) -> bool:
    if not uri.startswith("gs://"):
        return Path(uri.removeprefix("file://")).exists()
    objects = Objects()
    parsed = Uri.parse(uri)
    return objects.stat(parsed) is not None or any(True for _ in objects.list(parsed.child("")))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
