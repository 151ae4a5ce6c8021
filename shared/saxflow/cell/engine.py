"""Continuous batching: requests come and go while the others decode.

One thread owns the model. Between two decode calls it admits waiting requests into free slots, runs
scores, drops cancelled requests and hands out what was produced.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from saxflow.cell.llama import EOS
from saxflow.cell.programs import CAPACITY, HostSlots
from saxflow.cell.sampling import SlotArrays
from saxflow.errors import SaxError

MAX_WAITING = 256
"""Requests that may wait for a slot before RESOURCE_EXHAUSTED is answered."""
_log = logging.getLogger(__name__)
_TURN_SECONDS = 0.05
"""How long one decode call should take, so that streams flow and newcomers get in."""


class Model(Protocol):
    """What the engine drives: `saxflow.cell.programs.Programs`, alone or leading other hosts."""

    def prefill(self, ids: Sequence[int], slot: int, sampling: HostSlots) -> tuple[int, float]:
        """Run a prompt into a slot and return its first token and log-probability."""
        ...

    def decode(self, slots: HostSlots, limit: int) -> tuple[Any, Any]:
        """Extend active slots; return tokens [n,B] and log-probabilities [n,B]."""
        ...

    def score(self, ids: Sequence[int]) -> Any:
        """Return the log-probability of each of `ids[1:]`."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How one request wants its tokens; `max_tokens` is at least 1."""

    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Piece:
    """Tokens produced in one turn; the last piece of an answer is `final` and may be empty."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    final: bool


@dataclass
class Generation:
    """One request for tokens.

    Args:
        ids: the prompt, BOS first.
        sampling: what is wanted.
        deliver: called from the engine's thread with each `Piece`, or with the error that ended
            the request.
        cancelled: set it to give the slot back.
    """

    ids: Sequence[int]
    sampling: Sampling
    deliver: Callable[[Piece | Exception], None]
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Slot:
    request: Generation
    token: int
    position: int
    produced: int

    @property
    def remaining(self) -> int:
        return self.request.sampling.max_tokens - self.produced


@dataclass
class _Scoring:
    ids: Sequence[int]
    answer: Future[Any]


class Engine:
    """Serve one model from a thread of its own."""

    def __init__(self, model: Model, slots: int) -> None:
        self._model = model
        self._slots: list[_Slot | None] = [None] * slots
        self._waiting: deque[Generation] = deque()
        self._scorings: deque[_Scoring] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._step_seconds = _TURN_SECONDS / 8
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Generation) -> None:
        """Queue a request.

        Raises:
            SaxError: RESOURCE_EXHAUSTED when too many wait, NOT_FOUND after `close`.
        """
        with self._wake:
            self._check_open(len(self._waiting))
            self._waiting.append(request)
            self._wake.notify()

    def score(self, ids: Sequence[int]) -> Future[Any]:
        """Queue a scoring of `ids`; the future holds the log-probabilities of `ids[1:]`.

        Raises:
            SaxError: as `submit`.
        """
        scoring = _Scoring(ids, Future())
        with self._wake:
            self._check_open(len(self._scorings))
            self._scorings.append(scoring)
            self._wake.notify()
        return scoring.answer

    def close(self) -> None:
        """End every request with NOT_FOUND, as SAX does for an unloaded model, and stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _check_open(self, waiting: int) -> None:
        if self._closed:
            raise _unloaded()
        if waiting >= MAX_WAITING:
            raise SaxError(
                f"Too many requests: {MAX_WAITING}", code="RESOURCE_EXHAUSTED", retryable=True
            )

    def _run(self) -> None:
        while self._wait():
            try:
                self._score_waiting()
                self._admit()
                self._turn()
            except Exception as error:  # noqa: BLE001 - the outermost loop of a worker
                _log.exception("the model failed")
                self._end_all(SaxError(f"generation failed: {error}", code="INTERNAL"))
        self._end_all(_unloaded())

    def _wait(self) -> bool:
        """Sleep until there is something to do; return False when closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._busy())
            return not self._closed

    def _busy(self) -> bool:
        return bool(self._waiting or self._scorings or any(self._slots))

    def _score_waiting(self) -> None:
        while self._scorings:
            scoring = self._scorings[0]
            if not scoring.answer.cancelled():
                scoring.answer.set_result(self._model.score(scoring.ids))
            self._scorings.popleft()

    def _admit(self) -> None:
        for index, held in enumerate(self._slots):
            if held is None and (request := self._next()) is not None:
                self._start(index, request)

    def _next(self) -> Generation | None:
        while self._waiting:
            request = self._waiting.popleft()
            if not request.cancelled.is_set():
                return request
        return None

    def _start(self, index: int, request: Generation) -> None:
        slot = self._slots[index] = _Slot(request, 0, len(request.ids), 0)
        token, logprob = self._model.prefill(request.ids, index, _arrays([slot]))
        self._give(index, [token], [logprob])

    def _turn(self) -> None:
        """Decode a few tokens for every slot."""
        for index, held in enumerate(self._slots):
            if held is not None and held.request.cancelled.is_set():
                self._slots[index] = None
        if not any(self._slots):
            return
        began = time.perf_counter()
        tokens, logprobs = self._model.decode(_arrays(self._slots), self._limit())
        if len(tokens):
            self._step_seconds = (time.perf_counter() - began) / len(tokens)
        for index, held in enumerate(self._slots):
            if held is not None:
                self._give(index, tokens[:, index].tolist(), logprobs[:, index].tolist())

    def _limit(self) -> int:
        return max(1, min(CAPACITY, int(_TURN_SECONDS / max(self._step_seconds, 1e-9))))

    def _give(self, index: int, tokens: list[int], logprobs: list[float]) -> None:
        """Hand over what a slot produced, up to EOS or its limit, and free it when it ended."""
        slot = self._slots[index]
        assert slot is not None
        count = min(len(tokens), slot.remaining)
        if EOS in tokens[:count]:
            count = tokens.index(EOS) + 1
        kept = tokens[:count]
        self._slots[index] = slot = _Slot(
            slot.request,
            kept[-1],
            slot.position + (count if slot.produced else count - 1),
            slot.produced + count,
        )
        final = kept[-1] == EOS or slot.remaining <= 0
        if final:
            self._slots[index] = None
        slot.request.deliver(Piece(tuple(kept), tuple(logprobs[:count]), final))

    def _end_all(self, failure: Exception) -> None:
        held = [slot.request for slot in self._slots if slot is not None]
        self._slots = [None] * len(self._slots)
        for request in [*held, *self._waiting]:
            request.deliver(failure)
        self._waiting.clear()
        while self._scorings:
            answer = self._scorings.popleft().answer
            if not answer.done():
                answer.set_exception(failure)


def _unloaded() -> SaxError:
    return SaxError("model is already unloaded", code="NOT_FOUND", retryable=True)


def _arrays(slots: Sequence[_Slot | None]) -> HostSlots:
    """Return the host arrays `llama` takes; an empty slot has nothing remaining."""
    return slot_arrays(list(zip(*(_row(slot) for slot in slots), strict=True)))


def slot_arrays(columns: Sequence[Sequence[float]]) -> HostSlots:
    """Return the columns, in the order of `SlotArrays`, in the dtypes `llama` takes."""
    kinds: list[Any] = [np.int32] * 4 + [np.float32, np.int32, np.float32, np.uint32]
    return SlotArrays(
        *(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True))
    )


def _row(slot: _Slot | None) -> tuple[float, ...]:
    if slot is None:
        return (0, 0, 0, 0, 0.0, 0, 1.0, 0)
    wanted = slot.request.sampling
    return (
        slot.token,
        slot.position,
        slot.produced,
        slot.remaining,
        wanted.temperature,
        wanted.top_k,
        wanted.top_p,
        wanted.seed,
    )
