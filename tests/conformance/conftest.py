"""Fixtures that let tests ask the real Pax about our checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import torch

from saxflow.sax.servable import IDS_TOKENIZER, Servable
from saxflow.weights import Dimensions, dimensions_of_params

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DEVICES = 4
"""Devices the Pax process pretends to have, so that sharded restores run."""

VOCAB = 320
CASES = {
    "mha_1_shard": (Dimensions(2, 64, 4, 4, 16, 192, VOCAB), 1),
    "gqa_4_2_2_shards": (Dimensions(2, 64, 4, 2, 16, 192, VOCAB), 2),
    "gqa_8_4_4_shards": (Dimensions(2, 128, 8, 4, 16, 384, VOCAB), 4),
}
"""Models made up for the tests: dimensions and number of tensor-parallel shards."""

Variables = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """Weights in Meta's format, and what is known of them.

    Args:
        folder: holds the shards and params.json.
        dims: the model's dimensions.
    """

    folder: Path
    dims: Dimensions


@dataclass
class PaxSession:
    """A process under python3.10 that restores checkpoints with the real paxml.

    Args:
        process: `py310/pax_session.py`, one JSON line in, one out.
        folder: where servables are put and answers come back.
        log: what Pax says on stderr.
    """

    process: subprocess.Popen[str]
    folder: Path
    log: Path
    asked: int = 0

    def restore(self, checkpoint: Path, servable: Servable, **request: Any) -> Variables:
        """Return the restored variables' bits by Pax's names, and `logits` if `ids` are given.

        Raises:
            AssertionError: Pax refused; its own words are in the message.
        """
        return self._answer(servable, checkpoint=str(checkpoint), **request)

    def variables(self, servable: Servable) -> dict[str, tuple[tuple[int, ...], int | None]]:
        """Return shape and sharded axis of every variable the model would restore."""
        answer = {name: row.tolist() for name, row in self._answer(servable).items()}
        return {
            name: (tuple(shape), None if axis < 0 else axis)
            for name, (*shape, axis) in answer.items()
        }

    def _answer(self, servable: Servable, **request: Any) -> Variables:
        self.asked += 1
        described = self.folder / f"{self.asked}.servable.json"
        described.write_text(servable.to_json(), encoding="utf-8")
        out = self.folder / f"{self.asked}.npz"
        reply = self._ask({"servable": str(described), "out": str(out), **request})
        assert reply == {"ok": True}, reply
        with np.load(out) as found:
            return {name: found[name] for name in found.files}

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.listen()

    def listen(self) -> dict[str, Any]:
        """Return the next reply, or fail with the end of the log when the process is gone."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text(encoding="utf-8")[-4000:]
        return json.loads(line)


@pytest.fixture(scope="session")
def pax_python() -> Path:
    """Return the interpreter with the pinned Pax stack; without one, the test is skipped.

    With SAXFLOW_REQUIRE_PAX set, being without one is a failure instead.
    """
    command = [sys.executable, HERE / "pax_environment.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, str] = json.loads(done.stdout)
    if "unavailable" in answer:
        if os.environ.get("SAXFLOW_REQUIRE_PAX"):
            pytest.fail(answer["unavailable"])
        pytest.skip(answer["unavailable"])
    return Path(answer["python"])


@pytest.fixture(scope="session")
def pax(pax_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaxSession]:
    """Start the Pax process once; importing Pax alone takes a dozen seconds."""
    folder = tmp_path_factory.mktemp("pax")
    log = folder / "pax.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [pax_python, HERE / "py310/pax_session.py"],
            env=_pax_variables(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        session = PaxSession(process, folder, log)
        assert session.listen() == {"ok": True}
        yield session
        assert process.stdin is not None
        process.stdin.close()


def _pax_variables() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}",
        "SAXFLOW_PARAMS_MODULE": str(ROOT / "tpu/model_server/saxflow.py"),
    }


@pytest.fixture(scope="session")
def sources(
    golden: Path,
    tiny_llama: Path,
    meta_llama: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Source]:
    """Return the golden model, the example and the made-up ones, by name."""
    made = {
        name: _make(meta_llama, tmp_path_factory.mktemp(name), *case)
        for name, case in CASES.items()
    }
    return {
        "golden": _read(golden / "tiny_mha_2shards/meta", VOCAB),
        "tiny_llama": _read(tiny_llama, 512),
        **made,
    }


def _read(folder: Path, vocab: int) -> Source:
    params = json.loads((folder / "params.json").read_text())
    return Source(folder, dimensions_of_params(params, vocab=vocab))


def _make(meta_llama: ModuleType, folder: Path, dims: Dimensions, shards: int) -> Source:
    """Write random shards, with weights large enough and norms uneven enough to show errors."""
    torch.manual_seed(dims.heads * 10 + dims.kv_heads)
    model = meta_llama.Llama(dims)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.08)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    for index in range(shards):
        shard = {
            name: _shard(meta_llama.shard_axis(name), tensor, shards, index)
            for name, tensor in model.state_dict().items()
        }
        shard["rope.freqs"] = meta_llama.frequencies(dims).to(torch.bfloat16)
        torch.save(shard, folder / f"consolidated.{index:02d}.pth")
    (folder / "params.json").write_text(json.dumps(_params(dims)))
    return Source(folder, dims)


def _shard(axis: int | None, tensor: torch.Tensor, shards: int, index: int) -> torch.Tensor:
    piece = tensor if axis is None else tensor.chunk(shards, dim=axis)[index]
    return piece.to(torch.bfloat16).clone(memory_format=torch.contiguous_format)


def _params(dims: Dimensions) -> dict[str, Any]:
    return {
        "dim": dims.model_dim,
        "multiple_of": 64,
        "n_heads": dims.heads,
        "n_kv_heads": dims.kv_heads,
        "n_layers": dims.layers,
        "norm_eps": dims.norm_eps,
        "vocab_size": -1,
    }


@dataclass(frozen=True)
class Converter:
    """Runs the command under test, once per question."""

    folder: Path

    def convert(self, source: Source, dtype: str, mesh: int, compressor: str) -> Path:
        """Return the step directory that `saxflow convert` made; tests must leave it as it is."""
        destination = self.folder / f"{source.folder.name}-{dtype}-{mesh}-{compressor}"
        if not destination.exists():
            self._run(source, destination, dtype, mesh, compressor)
        return destination / "checkpoint_00000000"

    def _run(
        self, source: Source, destination: Path, dtype: str, mesh: int, compressor: str
    ) -> None:
        command = [
            Path(sys.executable).with_name("saxflow"),
            *("convert", source.folder, destination),
            *("--dtype", dtype, "--mesh", str(mesh), "--compressor", compressor, "--json"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def converter(tmp_path_factory: pytest.TempPathFactory) -> Converter:
    """Return the converter that all tests share."""
    return Converter(tmp_path_factory.mktemp("converted"))


@dataclass(frozen=True)
class Reference:
    """What Meta's code says of a source, in float64, and what a checkpoint of it must hold."""

    meta_llama: ModuleType

    def logits(self, source: Source, dtype: str, ids: np.ndarray) -> np.ndarray:
        """Return the logits `[B, T, V]` of the weights rounded to `dtype`."""
        model = self.meta_llama.load(source.folder, source.dims, getattr(torch, dtype))
        with torch.no_grad():
            return model.to(torch.float64)(torch.from_numpy(ids)).numpy()

    def variables(self, source: Source, dtype: str) -> Variables:
        """Return the bits of every Pax variable, by SAX's mapping (facts of its converter)."""
        model = self.meta_llama.load(source.folder, source.dims, getattr(torch, dtype))
        mapped = _mapped(dict(model.state_dict()), source.dims)
        return {name: _bits(tensor) for name, tensor in mapped.items()}


@pytest.fixture(scope="session")
def reference(meta_llama: ModuleType) -> Reference:
    """Return the reference of all comparisons."""
    return Reference(meta_llama)


def _bits(tensor: torch.Tensor) -> np.ndarray:
    return tensor.contiguous().view(torch.int16).numpy().view(np.uint16)


def _mapped(state: dict[str, torch.Tensor], dims: Dimensions) -> dict[str, torch.Tensor]:
    mapped = {
        "params.lm.embedding_lookup.emb_var": state["tok_embeddings.weight"],
        "params.lm.softmax.logits_ffn.linear.w": state["output.weight"].T,
        "params.lm.final_ln.scale": state["norm.weight"],
    }
    for index in range(dims.layers):
        meta, pax = f"layers.{index}.", f"params.lm.transformer.x_layers_{index}."
        layer = {name.removeprefix(meta): t for name, t in state.items() if name.startswith(meta)}
        mapped |= {pax + name: tensor for name, tensor in _mapped_layer(layer, dims).items()}
    return mapped


def _mapped_layer(layer: dict[str, torch.Tensor], dims: Dimensions) -> dict[str, torch.Tensor]:
    heads = {
        name: layer[f"attention.{meta}.weight"].T.reshape(dims.model_dim, -1, dims.head_dim)
        for name, meta in (("query", "wq"), ("key", "wk"), ("value", "wv"))
    }
    if dims.kv_heads == dims.heads:
        inputs = {"self_attention.combined_qkv.w": torch.stack(tuple(heads.values()))}
    else:
        inputs = {f"self_attention.{name}.w": tensor for name, tensor in heads.items()}
    output = layer["attention.wo.weight"].reshape(dims.model_dim, -1, dims.head_dim)
    return {
        **inputs,
        "self_attention.post.w": output,
        "layer_norm.scale": layer["attention_norm.weight"],
        "ff_layer.layer_norm.scale": layer["ffn_norm.weight"],
        "ff_layer.ffn_layer1_gate.linear.w": layer["feed_forward.w1.weight"].T,
        "ff_layer.ffn_layer1.linear.w": layer["feed_forward.w3.weight"].T,
        "ff_layer.ffn_layer2.linear.w": layer["feed_forward.w2.weight"].T,
    }


def servable_for(
    dims: Dimensions, mesh: int = 1, compute_dtype: Literal["float32", "bfloat16"] = "float32"
) -> Servable:
    """Return the description a deployment of these dimensions would carry."""
    return Servable(
        **{name: value for name, value in dims.as_dict().items() if name != "rope_theta"},
        tokenizer=IDS_TOKENIZER,
        mesh=(1, 1, mesh),
        input_len=64,
        max_new_tokens=16,
        stream=False,
        compute_dtype=compute_dtype,
    )


@pytest.fixture(scope="session")
def describe() -> Any:
    """Return `servable_for`, which tests cannot import."""
    return servable_for


@pytest.fixture(scope="session")
def token_ids() -> Sequence[Sequence[int]]:
    """Return four prompts `[4, 24]` that begin with BOS."""
    ids = np.random.default_rng(7).integers(3, VOCAB, (4, 24))
    ids[:, 0] = 1
    return ids.tolist()
