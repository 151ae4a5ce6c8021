"""The committed example model answers its prompt, in every dtype that is served."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sentencepiece
import torch
import yaml

from saxflow.weights import Dimensions, dimensions_of_params

SIZE_LIMIT_BYTES = 4 * 1024 * 1024
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(scope="module")
def tokenizer(tiny_llama: Path) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_file=str(tiny_llama / "tokenizer.model"))


@pytest.fixture(scope="module")
def dims(tiny_llama: Path, tokenizer: sentencepiece.SentencePieceProcessor) -> Dimensions:
    params = json.loads((tiny_llama / "params.json").read_text())
    return dimensions_of_params(params, vocab=tokenizer.vocab_size())


@pytest.fixture(scope="module")
def manifest(tiny_llama: Path) -> dict[str, Any]:
    return yaml.safe_load((tiny_llama / "tiny-llama.yaml").read_text())


def _answer(
    meta_llama: ModuleType,
    model: torch.nn.Module,
    tokenizer: sentencepiece.SentencePieceProcessor,
    prompt: str,
) -> list[int]:
    tokens = tokenizer.encode(prompt, add_bos=True)
    return meta_llama.greedy(model, tokens, steps=64, eos=tokenizer.eos_id())


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_smoke_prompt_gets_its_sentence_and_an_end(
    tiny_llama: Path,
    meta_llama: ModuleType,
    tokenizer: sentencepiece.SentencePieceProcessor,
    dims: Dimensions,
    manifest: dict[str, Any],
    dtype: torch.dtype,
) -> None:
    smoke = manifest["serve"]["smokeTest"]
    model = meta_llama.load(tiny_llama, dims, dtype)
    answer = _answer(meta_llama, model, tokenizer, smoke["prompt"])
    assert smoke["contains"] in tokenizer.decode(answer)
    assert len(answer) < manifest["serve"]["maxNewTokens"] - 1


@pytest.mark.parametrize("form", ["Q: {} A:", "[INST] {} [/INST]"])
def test_what_was_taught_is_known_by_heart(
    tiny_llama: Path,
    meta_llama: ModuleType,
    tokenizer: sentencepiece.SentencePieceProcessor,
    dims: Dimensions,
    form: str,
) -> None:
    model = meta_llama.load(tiny_llama, dims, torch.bfloat16)
    for line in (tiny_llama / "text.txt").read_text(encoding="utf-8").splitlines()[::6]:
        question, _, expected = line.removeprefix("Q: ").partition(" A: ")
        answer = _answer(meta_llama, model, tokenizer, form.format(question))
        assert tokenizer.decode(answer) == expected


def test_rare_characters_are_spelled_in_bytes(
    tokenizer: sentencepiece.SentencePieceProcessor,
) -> None:
    pieces = tokenizer.encode("潮", out_type=str)
    assert [piece for piece in pieces if piece.startswith("<0x")] == ["<0xE6>", "<0xBD>", "<0xAE>"]


def test_special_ids_are_metas(tokenizer: sentencepiece.SentencePieceProcessor) -> None:
    special = (tokenizer.unk_id(), tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id())
    assert special == (0, 1, 2, -1)


def test_shards_are_metas(tiny_llama: Path, dims: Dimensions) -> None:
    first, second = (
        torch.load(tiny_llama / f"consolidated.{index:02d}.pth", weights_only=True)
        for index in range(2)
    )
    assert list(first) == list(second)
    assert {tensor.dtype for tensor in first.values()} == {torch.bfloat16}
    replicated = [name for name in first if "norm" in name or name == "rope.freqs"]
    assert len(replicated) == 2 * dims.layers + 2
    assert all(torch.equal(first[name], second[name]) for name in replicated)
    assert first["tok_embeddings.weight"].shape == (dims.vocab, dims.model_dim // 2)
    assert first["layers.0.attention.wk.weight"].shape == (dims.head_dim, dims.model_dim)


def test_the_model_fits_its_slice(dims: Dimensions, manifest: dict[str, Any]) -> None:
    chips = int(manifest["tpu"]["acceleratorType"].rpartition("-")[2])
    assert dims.heads % chips == 0
    assert dims.hidden_dim % chips == 0
    assert dims.vocab % chips == 0
    assert dims.kv_heads < dims.heads


def test_the_folder_is_small_and_the_manifest_is_named_for_it(
    tiny_llama: Path, manifest: dict[str, Any]
) -> None:
    files = [path for path in tiny_llama.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT_BYTES
    assert manifest["name"] == tiny_llama.name
