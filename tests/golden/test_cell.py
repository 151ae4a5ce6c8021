"""The laptop's cell against the real systems' data, and against Meta's forward pass after conversion."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from jax.sharding import Mesh

from saxflow.cell import llama, restore
from saxflow.cell.loader import ModelLoader
from saxflow.cli.convert import convert
from saxflow.sax import messages as m
from saxflow.sax.servable import Servable
from saxflow.weights import Dimensions, dimensions_of_params

GOLDEN = Dimensions(2, 64, 4, 4, 16, 192, 320)
TOLERANCE = 2e-5


def logits(checkpoint: str, dims: Dimensions, ids: np.ndarray) -> np.ndarray:
    mesh = Mesh(np.array(jax.devices()[:1]), ("mdl",))
    weights = restore.load(checkpoint, dims, "float32", mesh)
    return np.asarray(jax.jit(llama.logits, static_argnums=1)(weights, dims, ids))


def servable(dims: Dimensions, tokenizer: str) -> Servable:
    fields = asdict(dims)
    lengths = {"input_len": 32, "max_new_tokens": 64}
    return Servable(**fields, tokenizer=tokenizer, compute_dtype="float32", **lengths)


@pytest.mark.parametrize("reference", ["meta_ref", "sax_f32"])
def test_logits_equal_metas_and_saxs(golden: Path, golden_step: Path, reference: str) -> None:
    with np.load(golden / "tiny_mha_2shards/logits.npz") as data:
        ids, wanted = data["ids"], data[reference]
    found = [logits(str(golden_step), GOLDEN, row) for row in ids]
    np.testing.assert_allclose(np.stack(found), wanted, atol=TOLERANCE)


def test_tokens_and_scores_equal_the_real_model_servers(golden: Path, golden_step: Path) -> None:
    document = json.loads((golden / "generate.json").read_text())
    loader = ModelLoader(servable(GOLDEN, "ids:"))
    served = loader.load(
        m.LoadRequest(
            model_path="saxml.server.pax.lm.params.saxflow.Llama", checkpoint_path=str(golden_step)
        )
    )
    steps = {"per_example_max_decode_steps": document["greedy_max_decode_steps"]}
    for prompt, case in document["cases"].items():
        request = m.GenerateRequest(
            text=prompt.removeprefix("tok:"), extra_inputs=m.ExtraInputs(items=steps)
        )
        (answer,) = asyncio.run(served.generate(request)).texts
        assert answer.text == case["sax_text"]
        assert answer.score == pytest.approx(case["sax_score"], abs=1e-4)
    scored = asyncio.run(served.score(m.ScoreRequest(prefix="45,100,7", suffix=["201,300,12"])))
    (wanted,) = document["score_prefix_45_100_7_suffix_201_300_12"]["mha"]
    assert scored.logp[0] == pytest.approx(wanted, abs=1e-4)
    loader.unload()


@pytest.fixture(scope="module")
def tiny_dims(tiny_llama: Path) -> Dimensions:
    params = json.loads((tiny_llama / "params.json").read_text())
    first = torch.load(tiny_llama / "consolidated.00.pth", weights_only=True)
    return dimensions_of_params(params, vocab=first["tok_embeddings.weight"].shape[0])


@pytest.fixture(scope="module")
def converted(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    target = tmp_path_factory.mktemp("converted") / "tiny"
    result = CliRunner().invoke(
        convert, [str(tiny_llama), str(target), "--mesh", "1"], catch_exceptions=False
    )
    assert result.exit_code == 0
    return str(target / "checkpoint_00000000")


def test_a_converted_model_with_grouped_queries_equals_metas_forward_pass(
    tiny_llama: Path, meta_llama: ModuleType, tiny_dims: Dimensions, converted: str
) -> None:
    assert tiny_dims.kv_heads < tiny_dims.heads
    ids = np.random.default_rng(3).integers(3, tiny_dims.vocab, 24).astype(np.int32)
    model = meta_llama.load(tiny_llama, tiny_dims, torch.float16).double()
    with torch.inference_mode():
        wanted = model(torch.from_numpy(ids).long()[None])[0].numpy()
    np.testing.assert_allclose(logits(converted, tiny_dims, ids), wanted, atol=TOLERANCE)


def test_a_converted_model_says_its_sentence(
    tiny_llama: Path, tiny_dims: Dimensions, converted: str
) -> None:
    line = (tiny_llama / "text.txt").read_text(encoding="utf-8").splitlines()[0]
    question, _, answer = line.partition(" A: ")
    loader = ModelLoader(servable(tiny_dims, f"file://{tiny_llama}/tokenizer.model"))
    served = loader.load(
        m.LoadRequest(
            model_path="saxml.server.pax.lm.params.saxflow.Llama", checkpoint_path=converted
        )
    )
    (text,) = asyncio.run(served.generate(m.GenerateRequest(text=f"{question} A:"))).texts
    loader.unload()
    assert text.text == answer
