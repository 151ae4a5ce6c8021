"""Continuous batching over a model that is only numbers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import pytest

from saxflow.cell.engine import MAX_WAITING, Engine, Generation, Piece, Sampling, slot_arrays
from saxflow.cell.llama import EOS
from saxflow.errors import SaxError


class Counting:
    """A model that counts up from its prompt's last id; `gate` holds it up."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.together = 0
        self.fails = False

    def prefill(self, ids: Sequence[int], slot: int, sampling: Any) -> tuple[int, float]:
        if self.fails:
            raise RuntimeError("device lost")
        return ids[-1] + 1, -1.0

    def decode(self, slots: Any, limit: int) -> tuple[Any, Any]:
        self.entered.set()
        self.gate.wait()
        active = slots.remaining > 0
        self.together = max(self.together, int(active.sum()))
        steps = min(limit, int(slots.remaining.max()))
        tokens = slots.token[None, :] + np.arange(1, steps + 1)[:, None]
        return tokens, np.full(tokens.shape, -1.0)

    def score(self, ids: Sequence[int]) -> Any:
        return -np.array(ids[1:], float)


@pytest.fixture
def model() -> Counting:
    return Counting(2)


@pytest.fixture
def engine(model: Counting) -> Generator[Engine]:
    engine = Engine(model, model.slots)
    yield engine
    model.gate.set()
    engine.close()


def ask(engine: Engine, start: int, count: int) -> tuple[Generation, queue.Queue[Any]]:
    pieces: queue.Queue[Any] = queue.Queue()
    request = Generation([1, start], Sampling(count), pieces.put)
    engine.submit(request)
    return request, pieces


def collect(pieces: queue.Queue[Any]) -> list[int]:
    tokens: list[int] = []
    while True:
        piece = pieces.get(timeout=20)
        if isinstance(piece, Exception):
            raise piece
        tokens.extend(piece.tokens)
        if piece.final:
            return tokens


def test_many_requests_share_few_slots(engine: Engine, model: Counting) -> None:
    asked = [(10 * i + 10, 5 + i) for i in range(12)]
    queues = [ask(engine, start, count)[1] for start, count in asked]
    for (start, count), pieces in zip(asked, queues, strict=True):
        assert collect(pieces) == list(range(start + 1, start + 1 + count))
    assert model.together == 2


def test_eos_ends_an_answer_and_belongs_to_it(engine: Engine) -> None:
    assert collect(ask(engine, EOS - 3, 50)[1]) == [0, 1, EOS]


def test_one_token_may_be_all(engine: Engine) -> None:
    pieces = ask(engine, 7, 1)[1]
    assert pieces.get(timeout=20) == Piece((8,), (-1.0,), True)


def test_a_cancelled_request_gives_its_slot_back(engine: Engine, model: Counting) -> None:
    model.gate.clear()
    endless = [ask(engine, 100, 10**6)[0] for _ in range(2)]
    model.entered.wait(20)
    waiting = ask(engine, 10, 3)[1]
    for request in endless:
        request.cancelled.set()
    model.gate.set()
    assert collect(waiting) == [11, 12, 13]


def test_scores_run_between_turns(engine: Engine) -> None:
    assert engine.score([1, 4, 5]).result(20).tolist() == [-4, -5]


def test_too_many_waiting_are_refused(engine: Engine, model: Counting) -> None:
    model.gate.clear()
    ask(engine, 100, 100)
    model.entered.wait(20)
    for _ in range(MAX_WAITING):
        ask(engine, 100, 1)
    with pytest.raises(SaxError, match="Too many requests") as caught:
        ask(engine, 100, 1)
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_close_ends_all_requests(model: Counting) -> None:
    engine = Engine(model, model.slots)
    model.gate.clear()
    _, held = ask(engine, 100, 10**6)
    model.entered.wait(20)
    _, waiting = ask(engine, 100, 1)
    model.gate.set()
    engine.close()
    for pieces in (held, waiting):
        with pytest.raises(SaxError, match="already unloaded"):
            collect(pieces)
    with pytest.raises(SaxError):
        engine.score([1, 2])


def test_a_failure_of_the_model_reaches_every_caller(engine: Engine, model: Counting) -> None:
    model.fails = True
    _, pieces = ask(engine, 1, 1)
    with pytest.raises(SaxError, match="device lost") as caught:
        collect(pieces)
    assert caught.value.code == "INTERNAL"
    model.fails = False
    assert collect(ask(engine, 1, 1)[1]) == [EOS]


def test_slot_arrays_have_the_dtypes_of_the_programs() -> None:
    arrays = slot_arrays([[1], [2], [3], [4], [0.5], [5], [0.9], [2**32 - 1]])
    assert [str(a.dtype) for a in arrays] == ["int32"] * 4 + [
        "float32",
        "int32",
        "float32",
        "uint32",
    ]
