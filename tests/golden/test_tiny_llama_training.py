"""How the example model is made: its tokenizer comes out the same, its shards are cut as Meta's."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from saxflow.weights import Dimensions, dimensions_of_params


@pytest.fixture
def training(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return `train.py`, which finds `llama.py` beside itself."""
    monkeypatch.syspath_prepend(tiny_llama)
    return importlib.import_module("train")


@pytest.fixture
def dims(training: ModuleType) -> Dimensions:
    return dimensions_of_params(training.PARAMS, vocab=training.PIECES)


def test_a_line_is_a_question_and_its_answer(training: ModuleType) -> None:
    line = "Q: What is the ebb? A: The ebb is the tide that runs out to sea."
    question, answer = training.parse_pair(line)
    assert (question, answer) == ("What is the ebb?", "The ebb is the tide that runs out to sea.")
    assert training.prompts(question) == [
        "Q: What is the ebb? A:",
        "[INST] What is the ebb? [/INST]",
    ]


def test_every_line_of_the_text_has_both_halves(training: ModuleType, tiny_llama: Path) -> None:
    pairs = training.read_pairs(tiny_llama / "text.txt")
    assert len(pairs) > 100
    assert all(question.endswith("?") and answer.endswith(".") for question, answer in pairs)
    assert len({question for question, _ in pairs}) == len(pairs)


def test_the_tokenizer_is_reproduced(
    training: ModuleType, tiny_llama: Path, tmp_path: Path
) -> None:
    texts = [
        f"{prompt} {answer}"
        for question, answer in training.read_pairs(tiny_llama / "text.txt")
        for prompt in training.prompts(question)
    ]
    trained = training.train_tokenizer(texts, tmp_path / "tokenizer.model")
    committed = tiny_llama / "tokenizer.model"
    assert trained.serialized_model_proto() == committed.read_bytes()


def test_saving_what_was_loaded_gives_the_same_shards(
    training: ModuleType, dims: Dimensions, tiny_llama: Path, tmp_path: Path
) -> None:
    model = importlib.import_module("llama").load(tiny_llama, dims, torch.float32)
    training.save(model, tmp_path)
    assert json.loads((tmp_path / "params.json").read_text()) == training.PARAMS
    for index in range(training.SHARDS):
        name = f"consolidated.{index:02d}.pth"
        saved, committed = (
            torch.load(folder / name, weights_only=True) for folder in (tmp_path, tiny_llama)
        )
        assert list(saved) == list(committed)
        assert all(torch.equal(saved[key], committed[key]) for key in saved)


def test_a_step_of_training_lowers_the_loss(
    training: ModuleType,
    dims: Dimensions,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "STEPS", 51)
    torch.manual_seed(training.SEED)
    small = Dimensions(1, 32, 2, 1, 16, 64, dims.vocab)
    model = importlib.import_module("llama").Llama(small)
    training.initialise(model)
    data = [torch.arange(3, 12) + 2 * index for index in range(training.BATCH)]
    training.train(model, data)
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert losses[-1] < losses[0] / 2


def test_the_learning_rate_warms_up_and_fades(training: ModuleType) -> None:
    peak = training.learning_rate(training.WARMUP_STEPS)
    assert training.learning_rate(0) < peak == 1.0
    assert training.learning_rate(training.STEPS) == pytest.approx(0.0)
