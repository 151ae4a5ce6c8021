"""The laptop's cell: time to serve, to the first token, and tokens per second beside plain torch.

    python -m benchmarks.cell

The cell is asked over gRPC by saxflow's client; torch runs in this process, after the cell has
answered, with one thread or all, whichever is faster. Both run in float32 and must choose the same
tokens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
import torch

from benchmarks.torch_llama import TorchLlama
from saxflow.sax.blocking import Cell, LanguageModel
from saxflow.sax.servable import Servable
from saxflow.weights import Dimensions

STEPS = 64
ROUNDS = 3
STREAMS = 4
PROMPT = [5, 9, 33, 60, 7, 8, 11, 45, 100, 7, 201, 300]
TINY = Dimensions(4, 128, 4, 2, 32, 352, 512)
SMALL = Dimensions(8, 512, 8, 8, 64, 1408, 8192)


def run(folder: Path) -> list[dict[str, Any]]:
    """Measure both models below `folder` and return one record each."""
    return [measure(folder / name, name, dims) for name, dims in (("tiny", TINY), ("small", SMALL))]


def measure(folder: Path, name: str, dims: Dimensions) -> dict[str, Any]:
    """Measure one model: one stream, then several at once, then torch."""
    variables = random_variables(dims)
    checkpoint = write_checkpoint(folder, variables)
    with cell_up(folder / "one", checkpoint, _servable(dims, 1)) as (ready, model):
        ours = _ask(model)
    with cell_up(folder / "many", checkpoint, _servable(dims, STREAMS)) as (_, model):
        together = _ask_together(model)
    torch_run = _ask_torch(TorchLlama(dims, variables))
    return {
        "model": name,
        "parameters": dims.parameters,
        "seconds_to_serve": ready["seconds"],
        "first_token_seconds": round(ours[1], 4),
        "torch_first_token_seconds": round(torch_run[1], 4),
        "tokens_per_second": round(ours[2], 1),
        "torch_tokens_per_second": round(torch_run[2], 1),
        "times_torch": round(ours[2] / torch_run[2], 2),
        f"tokens_per_second_{STREAMS}_streams": round(together, 1),
        f"times_torch_{STREAMS}_streams": round(together / torch_run[2], 2),
        "same_tokens": ours[0] == torch_run[0],
    }


@contextmanager
def cell_up(
    folder: Path, checkpoint: Path, servable: Servable
) -> Generator[tuple[dict[str, Any], LanguageModel]]:
    """Run `saxflow cell up`; yield what it printed and a client of its model."""
    folder.mkdir()
    (folder / "servable.json").write_text(servable.to_json())
    command = [sys.executable, "-c", "from saxflow.cli import main; main()", "cell", "up"]
    flags = [f"--checkpoint={checkpoint}", f"--servable={folder}/servable.json"]
    process = subprocess.Popen(
        [*command, *flags, f"--sax-root={folder}/root", "--model=bench", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        with Cell.open(ready["sax_root"], ready["cell"]) as cell:
            yield ready, cell.model(ready["model"])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stdout.close()


def random_variables(dims: Dimensions) -> dict[str, Any]:
    """Return float16 weights as Pax names them, scaled so that activations stay in range."""
    rng = np.random.default_rng(0)
    d, f, v = dims.model_dim, dims.hidden_dim, dims.vocab
    query, pair = (d, dims.heads, dims.head_dim), (d, dims.kv_heads, dims.head_dim)
    shapes: dict[str, tuple[int, ...]] = {
        "embedding_lookup.emb_var": (v, d),
        "final_ln.scale": (d,),
        "softmax.logits_ffn.linear.w": (d, v),
    }
    for i in range(dims.layers):
        layer = f"transformer.x_layers_{i}"
        attention, ffn = f"{layer}.self_attention", f"{layer}.ff_layer"
        shapes |= {f"{attention}.{part}.w": pair for part in ("key", "value")}
        shapes |= {f"{attention}.{part}.w": query for part in ("query", "post")}
        shapes |= {f"{ffn}.{part}.linear.w": (d, f) for part in ("ffn_layer1", "ffn_layer1_gate")}
        shapes |= {f"{ffn}.ffn_layer2.linear.w": (f, d)}
        shapes |= {f"{layer}.layer_norm.scale": (d,), f"{ffn}.layer_norm.scale": (d,)}
    return {
        name: (rng.standard_normal(shape, np.float32) * (1.5 / np.sqrt(d))).astype(np.float16)
        if len(shape) > 1
        else np.ones(shape, np.float16)
        for name, shape in shapes.items()
    }


def write_checkpoint(folder: Path, variables: dict[str, Any]) -> Path:
    """Write a Pax step directory, uncompressed."""
    root = folder / "checkpoint_00000000"
    (root / "metadata").mkdir(parents=True)
    (root / "metadata/metadata").write_text('{"version": 1.1}')
    stored = {f"mdl_vars.params.lm.{name}": array for name, array in variables.items()}
    for name, array in {**stored, "step": np.zeros((), np.int32)}.items():
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": f"{root}/state/{name}/"},
            "metadata": {
                "shape": list(array.shape),
                "chunks": list(array.shape),
                "dtype": array.dtype.str,
                "compressor": None,
            },
        }
        ts.open(spec, create=True).result().write(array).result()
    return root


def _servable(dims: Dimensions, batch: int) -> Servable:
    return Servable(
        layers=dims.layers,
        heads=dims.heads,
        kv_heads=dims.kv_heads,
        head_dim=dims.head_dim,
        model_dim=dims.model_dim,
        hidden_dim=dims.hidden_dim,
        vocab=dims.vocab,
        tokenizer="ids:",
        compute_dtype="float32",
        batch=batch,
        input_len=128,
        max_new_tokens=STEPS,
    )


def _ask(model: LanguageModel) -> tuple[list[int], float, float]:
    """Return the tokens, and the best first-token time and rate of a few rounds after one warm-up."""
    text = ",".join(map(str, PROMPT))
    rounds: list[tuple[list[int], float, float]] = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        first, answer = 0.0, ""
        for (sample,) in model.generate_stream(text):
            first = first or time.perf_counter() - began
            answer = sample.text
        tokens = [int(token) for token in answer.split(",")]
        rounds.append((tokens, first, (len(tokens) - 1) / (time.perf_counter() - began - first)))
    return _best(rounds[1:])


def _ask_together(model: LanguageModel) -> float:
    """Return the tokens per second of several streams at once, the best of a few rounds."""
    text = ",".join(map(str, PROMPT))
    rates: list[float] = []
    with ThreadPoolExecutor(STREAMS) as pool:
        for _ in range(1 + ROUNDS):
            began = time.perf_counter()
            answers = list(pool.map(model.generate, [text] * STREAMS))
            count = sum(len(answer[0].text.split(",")) for answer in answers)
            rates.append(count / (time.perf_counter() - began))
    return max(rates[1:])


def _ask_torch(model: TorchLlama) -> tuple[list[int], float, float]:
    """Return the same of torch, with one thread or all, whichever is faster in a short trial."""
    trials: dict[int, float] = {}
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        trials[threads] = max(model.generate([1, *PROMPT], 4)[2] for _ in range(2))
    torch.set_num_threads(max(trials, key=trials.__getitem__))
    return _best([model.generate([1, *PROMPT], STEPS) for _ in range(1 + ROUNDS)][1:])


def _best(rounds: list[tuple[list[int], float, float]]) -> tuple[list[int], float, float]:
    return rounds[0][0], min(r[1] for r in rounds), max(r[2] for r in rounds)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for record in run(Path(scratch)):
            print(json.dumps(record))
