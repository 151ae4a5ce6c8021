"""Tiny Llamas in every source format, and the checkpoint each must become, computed plainly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saxflow import layout
from saxflow.checkpoint.hugging_face import LAYER_NAMES, TOP_NAMES
from saxflow.checkpoint.mapping import recipe
from saxflow.checkpoint.matrices import role_of, tensor_shape
from saxflow.checkpoint.meta import CUTS, tensor_names
from saxflow.weights import Dimensions

MHA = Dimensions(2, 32, 4, 4, 8, 96, 80)
GQA = Dimensions(2, 64, 8, 2, 8, 192, 76)
MULTIPLE_OF = 32


@dataclass(frozen=True)
class Model:
    """A model's tensors by Meta's names, whole."""

    dims: Dimensions
    tensors: dict[str, torch.Tensor]

    def expected(self, dtype: str) -> dict[str, np.ndarray]:
        """Return every Pax variable, in float16 or bfloat16."""
        made = {v.name: self._variable(v) for v in layout.pax_variables(self.dims)}
        kind = torch.float16 if dtype == "float16" else torch.bfloat16
        return {name: _numpy(value.to(kind)) for name, value in made.items()}

    def _variable(self, variable: layout.Variable) -> torch.Tensor:
        how = recipe(variable.name)
        parts = [self.tensors[name] for name in how.tensors]
        turned = [part.T if how.transposed else part for part in parts]
        whole = torch.stack(turned) if len(turned) > 1 else turned[0]
        return whole.reshape(variable.shape)


@dataclass
class MetaFiles:
    """How a model is written as consolidated shards.

    Args:
        embedding_axis: 1 as Llama 2 cuts it, 0 as Llama 3 does.
        kv_copies: how many shards hold the same key and value head.
        change: may edit each shard's dictionary before it is saved.
    """

    shards: int = 2
    dtype: torch.dtype = torch.bfloat16
    embedding_axis: int = 1
    kv_copies: int = 1
    params: dict[str, Any] = field(default_factory=dict)
    change: Callable[[int, dict[str, Any]], None] = lambda _index, _shard: None


def _numpy(value: torch.Tensor) -> np.ndarray:
    if value.dtype == torch.bfloat16:
        return value.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return value.numpy()


def random_model(dims: Dimensions, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Model:
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name in tensor_names(dims.layers):
        rows, cols = tensor_shape(name, dims)
        shape = (cols,) if role_of(name).endswith("norm.weight") else (rows, cols)
        tensors[name] = torch.randn(shape, generator=generator).to(dtype)
    return Model(dims, tensors)


def write_meta(folder: Path, model: Model, how: MetaFiles) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(how.shards):
        shard: dict[str, Any] = {n: _cut(n, t, index, how) for n, t in model.tensors.items()}
        shard["rope.freqs"] = torch.arange(4, dtype=torch.float32)
        how.change(index, shard)
        torch.save(shard, folder / f"consolidated.{index:02}.pth")
    (folder / "params.json").write_text(json.dumps(params_of(model.dims) | how.params))
    return folder


def params_of(dims: Dimensions) -> dict[str, Any]:
    params: dict[str, Any] = {
        "dim": dims.model_dim,
        "n_layers": dims.layers,
        "n_heads": dims.heads,
        "multiple_of": MULTIPLE_OF,
        "norm_eps": dims.norm_eps,
        "vocab_size": -1,
    }
    return params | ({} if dims.kv_heads == dims.heads else {"n_kv_heads": dims.kv_heads})


def _cut(name: str, tensor: torch.Tensor, index: int, how: MetaFiles) -> torch.Tensor:
    axis = how.embedding_axis if name == "tok_embeddings.weight" else CUTS[role_of(name)]
    if axis is None:
        return tensor.to(how.dtype)
    copies = how.kv_copies if name.endswith((".wk.weight", ".wv.weight")) else 1
    pieces = tensor.chunk(how.shards // copies, dim=axis)
    return pieces[index // copies].to(how.dtype).contiguous()


def write_hugging_face(
    folder: Path, model: Model, *, files: int = 1, tied: bool = False, **config: Any
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    stored = hugging_face_tensors(model)
    if tied:
        del stored["lm_head.weight"]
    groups: list[dict[str, torch.Tensor]] = [{} for _ in range(files)]
    for number, (name, tensor) in enumerate(stored.items()):
        groups[number % files][name] = tensor
    names = [f"model-{i + 1:05}-of-{files:05}.safetensors" for i in range(files)]
    names = ["model.safetensors"] if files == 1 else names
    for name, group in zip(names, groups, strict=True):
        save_file(group, folder / name)
    if files > 1:
        weight_map = {t: n for n, group in zip(names, groups, strict=True) for t in group}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config_of(model.dims, tied) | config))
    return folder


def hugging_face_tensors(model: Model) -> dict[str, torch.Tensor]:
    dims = model.dims
    names = {
        **TOP_NAMES,
        **{
            f"layers.{i}.{ours}": f"model.layers.{i}.{theirs}"
            for i in range(dims.layers)
            for ours, theirs in LAYER_NAMES.items()
        },
    }
    return {names[n]: _permuted(n, t, dims).contiguous() for n, t in model.tensors.items()}


def _permuted(name: str, tensor: torch.Tensor, dims: Dimensions) -> torch.Tensor:
    """Reorder query and key rows as transformers' converter does."""
    if not name.endswith((".wq.weight", ".wk.weight")):
        return tensor
    split = tensor.view(-1, dims.head_dim // 2, 2, tensor.shape[1])
    return split.transpose(1, 2).reshape(tensor.shape)


def config_of(dims: Dimensions, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": dims.model_dim,
        "num_attention_heads": dims.heads,
        "num_key_value_heads": dims.kv_heads,
        "num_hidden_layers": dims.layers,
        "intermediate_size": dims.hidden_dim,
        "vocab_size": dims.vocab,
        "rms_norm_eps": dims.norm_eps,
        "rope_theta": dims.rope_theta,
        "tie_word_embeddings": tied,
        "hidden_act": "silu",
    }


def read_checkpoint(step: Path) -> dict[str, np.ndarray]:
    """Read every variable as SAX's library does."""
    import tensorstore as ts

    found: dict[str, np.ndarray] = {}
    for path in sorted((step / "state").iterdir()):
        if path.is_dir() and path.name != "step":
            spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(path)}}
            found[path.name] = ts.open(spec).result().read().result()
    return found


def assert_holds(step: Path, model: Model, dtype: str = "float16") -> None:
    expected = model.expected(dtype)
    found = read_checkpoint(step)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        assert np.array_equal(found[name].view(np.uint16), value.view(np.uint16)), name


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@dataclass(frozen=True)
class Kit:
    """What tests make and look at."""

    MHA = MHA
    GQA = GQA
    MetaFiles = MetaFiles
    model = staticmethod(random_model)
    meta = staticmethod(write_meta)
    hugging_face = staticmethod(write_hugging_face)
    read = staticmethod(read_checkpoint)
    assert_holds = staticmethod(assert_holds)
    tree = staticmethod(tree)
    replace = staticmethod(replace)


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grouped-query model in two shards that several tests only read."""
    return write_meta(tmp_path_factory.mktemp("tiny") / "meta", random_model(GQA), MetaFiles())
