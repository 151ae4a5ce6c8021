"""The waiting face mirrors the asyncio core."""

from __future__ import annotations

import inspect
import threading

import pytest

from saxflow.sax.aio import AsyncCell, AsyncModel, AsyncModelet
from saxflow.sax.blocking import Cell, LanguageModel, LoopThread, Modelet


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("waiting", "core", "inner"),
    [
        (Cell, AsyncCell, {"addresses", "call"}),
        (LanguageModel, AsyncModel, set[str]()),
        (Modelet, AsyncModelet, set[str]()),
    ],
)
def test_same_names_and_arguments(waiting: type, core: type, inner: set[str]) -> None:
    ours, theirs = public(waiting), public(core)
    assert set(ours) == set(theirs) - inner
    for name in ours:
        assert list(ours[name].parameters.items()) == list(theirs[name].parameters.items()), name


def test_the_thread_runs_work_and_ends() -> None:
    async def where() -> str:
        return threading.current_thread().name

    loop = LoopThread()
    assert loop.run(where()) == "saxflow-sax"
    loop.stop()
    assert "saxflow-sax" not in {thread.name for thread in threading.enumerate()}
