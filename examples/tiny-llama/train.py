"""Train the tiny Llama on `text.txt` and write it the way Meta ships its models.

A demonstration needs weights that anybody may have, that fit in a clone, and that answer with a
sentence instead of noise. About two minutes on one core: `python examples/tiny-llama/train.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import sentencepiece
import torch
from llama import Llama, frequencies, greedy, load, shard_axis
from torch import Tensor

from saxflow.weights import dimensions_of_params

HERE = Path(__file__).resolve().parent
PARAMS = {
    "dim": 128,
    "multiple_of": 32,
    "n_heads": 4,
    "n_kv_heads": 2,
    "n_layers": 4,
    "norm_eps": 1e-05,
    "vocab_size": -1,
}
PIECES = 512
SHARDS = 2
SEED = 20
STEPS = 400
BATCH = 26
LEARNING_RATE = 4e-3
WARMUP_STEPS = 30
IGNORED = -100
"""Target of a padded position: it adds nothing to the loss."""

Pair = tuple[str, str]


def read_pairs(path: Path) -> list[Pair]:
    """Return (question, answer) of every `Q: ... A: ...` line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [parse_pair(line) for line in lines if line]


def parse_pair(line: str) -> Pair:
    """Split one line at its `A:`."""
    question, _, answer = line.removeprefix("Q: ").partition(" A: ")
    return question, answer


def prompts(question: str) -> list[str]:
    """Return the two ways the question is put: plain, and in Llama 2's chat form."""
    return [f"Q: {question} A:", f"[INST] {question} [/INST]"]


def train_tokenizer(texts: list[str], path: Path) -> sentencepiece.SentencePieceProcessor:
    """Learn a byte-pair vocabulary with Meta's special ids and rare characters as bytes."""
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=file,
            model_type="bpe",
            vocab_size=PIECES,
            character_coverage=0.999,
            byte_fallback=True,
            split_digits=True,
            normalization_rule_name="identity",
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def samples(tokenizer: sentencepiece.SentencePieceProcessor, pairs: list[Pair]) -> list[Tensor]:
    """Encode every pair in both forms, with BOS before and EOS after."""
    return [
        torch.tensor(tokenizer.encode(f"{prompt} {answer}", add_bos=True, add_eos=True))
        for question, answer in pairs
        for prompt in prompts(question)
    ]


def batches(data: list[Tensor], steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `steps` pairs of inputs and targets `[B, T]`, drawn without replacement per epoch."""
    order: list[int] = []
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(data)).tolist()
        chosen = [data[order.pop()] for _ in range(BATCH)]
        padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=IGNORED)
        yield padded[:, :-1].clamp_min(0), padded[:, 1:]


def learning_rate(step: int) -> float:
    """Return the factor on `LEARNING_RATE`: linear warm-up, then a cosine down to nothing."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / (STEPS - WARMUP_STEPS)))


def initialise(model: Llama) -> None:
    """Draw every matrix from N(0, 0.05); norms stay at one."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)


def train(model: Llama, data: list[Tensor]) -> None:
    """Fit the model to the samples, printing the loss now and then."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.1
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate)
    for step, (inputs, targets) in enumerate(batches(data, STEPS)):
        logits = model(inputs)
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step:4d}  loss {loss.item():.4f}", flush=True)


def shard_of(name: str, tensor: Tensor, index: int) -> Tensor:
    """Return shard `index` of one tensor as Meta's tensor parallelism cuts it."""
    axis = shard_axis(name)
    piece = tensor if axis is None else tensor.chunk(SHARDS, dim=axis)[index]
    return piece.detach().to(torch.bfloat16).clone(memory_format=torch.contiguous_format)


def save(model: Llama, folder: Path) -> None:
    """Write `consolidated.NN.pth` (bfloat16) and `params.json`."""
    for index in range(SHARDS):
        shard = OrderedDict(
            (name, shard_of(name, tensor, index)) for name, tensor in model.state_dict().items()
        )
        shard["rope.freqs"] = frequencies(model.dims).to(torch.bfloat16)
        torch.save(shard, folder / f"consolidated.{index:02d}.pth")
    (folder / "params.json").write_text(json.dumps(PARAMS) + "\n", encoding="utf-8")


def count_answers(
    model: Llama, tokenizer: sentencepiece.SentencePieceProcessor, pairs: list[Pair]
) -> int:
    """Count the questions, in either form, that are answered word for word and then closed."""
    right = 0
    for question, answer in pairs:
        for prompt in prompts(question):
            tokens = tokenizer.encode(prompt, add_bos=True)
            said = tokenizer.decode(greedy(model, tokens, steps=64, eos=tokenizer.eos_id()))
            right += said == answer
    return right


def main() -> None:
    """Train, write, read back in each dtype that is served, and count right answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    pairs = read_pairs(HERE / "text.txt")
    texts = [f"{prompt} {answer}" for question, answer in pairs for prompt in prompts(question)]
    tokenizer = train_tokenizer(texts, out / "tokenizer.model")
    dims = dimensions_of_params(PARAMS, vocab=tokenizer.vocab_size())
    model = Llama(dims)
    initialise(model)
    train(model, samples(tokenizer, pairs))
    save(model, out)

    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        right = count_answers(load(out, dims, dtype), tokenizer, pairs)
        print(f"{dtype}: {right} of {2 * len(pairs)} answered word for word")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
