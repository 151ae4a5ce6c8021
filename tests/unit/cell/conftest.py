"""The golden model as a servable, its programs, and a random model of any dimensions on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saxflow import layout
from saxflow.cell.programs import Programs, serving_mesh
from saxflow.sax.servable import Servable
from saxflow.weights import Dimensions

GQA = Dimensions(3, 48, 6, 2, 8, 80, 64, norm_eps=1e-5, rope_theta=10000.0)


@pytest.fixture(scope="session")
def servable(golden_servable: dict[str, Any]) -> Servable:
    """Return the golden model, small buckets."""
    return Servable(**golden_servable, batch=3, input_len=24, max_new_tokens=40)


@pytest.fixture(scope="session")
def checkpoint(golden_step: Path) -> str:
    """Return the golden step directory."""
    return str(golden_step)


@pytest.fixture(scope="session")
def programs(servable: Servable, checkpoint: str) -> Programs:
    """Return the golden model, loaded; tests that use it take turns."""
    programs = Programs(servable, serving_mesh(servable))
    programs.load(checkpoint)
    return programs


@pytest.fixture(scope="session")
def cases(golden: Path) -> dict[str, Any]:
    """Return what the real server generated: prompt ids as text -> tokens and score."""
    document = json.loads((golden / "generate.json").read_text())
    return {key.removeprefix("tok:"): case for key, case in document["cases"].items()}


@pytest.fixture(scope="session")
def gqa() -> Dimensions:
    """Return dimensions with grouped queries."""
    return GQA


@pytest.fixture
def pax_checkpoint(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes random weights as a Pax checkpoint and returns its path."""

    def write(dims: Dimensions, **changes: Any) -> str:
        root = tmp_path / "checkpoint_00000000"
        (root / "metadata").mkdir(parents=True)
        (root / "metadata/metadata").write_text('{"version": 1.1}')
        arrays = {**random_variables(dims), **changes}
        for name, array in arrays.items():
            _write_zarr(root / f"state/mdl_vars.params.lm.{name}", array)
        _write_zarr(root / "state/step", np.zeros((), np.int32))
        return str(root)

    return write


def random_variables(dims: Dimensions) -> dict[str, Any]:
    """Return variables as Pax names them for separate q, k and v, float16."""
    rng = np.random.default_rng(7)
    return {
        variable.name.removeprefix("mdl_vars.params.lm."): (
            (rng.standard_normal(variable.shape) * 0.2).astype(np.float16)
        )
        for variable in layout.pax_variables(dims)
    }


@pytest.fixture(scope="session")
def reference_logits() -> Callable[[Dimensions, Any], Any]:
    """Return Llama written out once more, in float64, over the random variables."""

    def run(dims: Dimensions, ids: Any) -> Any:
        return _forward(
            dims, {k: v.astype(np.float64) for k, v in random_variables(dims).items()}, ids
        )

    return run


def _forward(dims: Dimensions, w: dict[str, Any], ids: Any) -> Any:
    def norm(x: Any, scale: Any) -> Any:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + dims.norm_eps) * scale

    def rotate(x: Any) -> Any:
        frequency = dims.rope_theta ** (-np.arange(0, dims.head_dim, 2) / dims.head_dim)
        turn = np.exp(1j * np.outer(np.arange(len(x)), frequency))[:, None, :]
        turned = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
        return np.stack([turned.real, turned.imag], -1).reshape(x.shape)

    x = w["embedding_lookup.emb_var"][ids]
    future = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    for i in range(dims.layers):
        layer = f"transformer.x_layers_{i}"
        attention = f"{layer}.self_attention"
        normed = norm(x, w[f"{layer}.layer_norm.scale"])
        q = rotate(np.einsum("td,dnh->tnh", normed, w[f"{attention}.query.w"]))
        k = rotate(np.einsum("td,dnh->tnh", normed, w[f"{attention}.key.w"]))
        v = np.einsum("td,dnh->tnh", normed, w[f"{attention}.value.w"])
        k, v = (np.repeat(part, dims.heads // dims.kv_heads, axis=1) for part in (k, v))
        raw = np.einsum("tnh,snh->nts", q, k) / math.sqrt(dims.head_dim) + future
        soft = np.exp(raw - raw.max(-1, keepdims=True))
        soft /= soft.sum(-1, keepdims=True)
        mixed = np.einsum("nts,snh->tnh", soft, v)
        x = x + np.einsum("tnh,dnh->td", mixed, w[f"{attention}.post.w"])
        normed = norm(x, w[f"{layer}.ff_layer.layer_norm.scale"])
        gate = normed @ w[f"{layer}.ff_layer.ffn_layer1_gate.linear.w"]
        up = normed @ w[f"{layer}.ff_layer.ffn_layer1.linear.w"]
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{layer}.ff_layer.ffn_layer2.linear.w"]
    return norm(x, w["final_ln.scale"]) @ w["softmax.logits_ffn.linear.w"]


def _write_zarr(path: Path, array: Any) -> None:
    import tensorstore as ts

    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{path}/"},
        "metadata": {
            "shape": list(array.shape),
            "chunks": [max(1, -(-n // 2)) for n in array.shape],
            "dtype": array.dtype.str,
            "compressor": {"id": "zstd", "level": 1},
            "fill_value": None,
        },
    }
    ts.open(spec, create=True).result().write(array).result()
