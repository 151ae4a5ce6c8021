"""Ready means that a token was produced, by traffic or by a question of our own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from saxflow.serving import readiness as readiness_module
from saxflow.serving.backends import Backends
from saxflow.serving.readiness import Readiness

TINY = Path(__file__).parents[2] / "data/golden/tiny320.model"
Make = Callable[..., Backends]
Steps = Callable[[Readiness], Awaitable[Any]]


@pytest.fixture
def run(make_backends: Make) -> Callable[[Steps], Any]:
    """Run some steps with a readiness that knows nothing yet."""

    def call(steps: Steps) -> Any:
        async def inside() -> Any:
            backends = make_backends()
            try:
                return await steps(Readiness(backends))
            finally:
                await backends.close()

        return asyncio.run(inside())

    return call


async def once(readiness: Readiness) -> str | None:
    return await readiness.ready()


async def twice(readiness: Readiness) -> list[str | None]:
    return [await readiness.ready(), await readiness.ready()]


def test_without_a_deployment(run: Any) -> None:
    assert run(once) == "no deployment serves"


def test_one_token_is_asked_for_and_then_believed(run: Any, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    assert run(twice) == [None, None]
    (asked,) = teller.asked
    assert asked.text == "3", "a model of ids takes no words"
    assert dict(asked.extra_inputs.items) == {"temperature": 0, "per_example_max_decode_steps": 1}


def test_models_of_words_are_greeted(run: Any, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address, tokenizer=f"file://{TINY}")
    assert run(once) is None
    assert teller.asked[0].text == "Hello"


def test_a_proof_ages(
    run: Any, installation: Any, teller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.deploy("story", teller.address)
    monkeypatch.setattr(readiness_module, "PROOF_SECONDS", 0.0)
    assert run(twice) == [None, None]
    assert len(teller.asked) == 2


@pytest.mark.parametrize("name", ["story", "/sax/test/story"])
def test_traffic_under_either_name_is_a_proof(
    run: Any, installation: Any, teller: Any, name: str
) -> None:
    installation.deploy("story", teller.address)

    async def steps(readiness: Readiness) -> str | None:
        readiness.prove(name)
        return await readiness.ready()

    assert run(steps) is None
    assert teller.asked == []


def test_traffic_of_another_model_is_none(run: Any, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)

    async def steps(readiness: Readiness) -> str | None:
        readiness.prove("/sax/test/other")
        readiness.prove("gone")
        return await readiness.ready()

    assert run(steps) is None
    assert len(teller.asked) == 1


def test_one_that_answers_is_enough(run: Any, installation: Any, teller: Any) -> None:
    installation.deploy("a-dead", "127.0.0.1:1")
    installation.deploy("story", teller.address)
    assert run(once) is None


def test_a_proven_one_is_not_kept_waiting_by_a_dead_one(
    run: Any, installation: Any, teller: Any
) -> None:
    installation.deploy("a-dead", "127.0.0.1:1")
    installation.deploy("story", teller.address)

    async def steps(readiness: Readiness) -> str | None:
        readiness.prove("story")
        return await readiness.ready()

    assert run(steps) is None
    assert teller.asked == []


def test_the_reason_names_who_refused(run: Any, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    teller.refusals = [(grpc.StatusCode.INTERNAL, "broken é")]
    first, second = run(twice)
    assert first is not None
    assert first.startswith("story: ")
    assert "broken é" in first
    assert second is None, "asked again, as nothing was proven"


def test_a_model_that_keeps_silent(
    run: Any, installation: Any, teller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness_module, "PROBE_SECONDS", 0.2)
    installation.deploy("story", teller.address)
    teller.gate.clear()
    reason = run(once)
    teller.gate.set()
    assert reason is not None
    assert reason.startswith("story: ")


def test_a_control_bucket_that_refuses(run: Any, installation: Any) -> None:
    installation.faults.arm("storage", "objects.list", "return-403")
    reason = run(once)
    assert reason is not None
    assert "403" in reason or "control" in reason


def test_many_probes_ask_once(run: Any, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)

    async def steps(readiness: Readiness) -> list[str | None]:
        return await asyncio.gather(*(readiness.ready() for _ in range(10)))

    assert run(steps) == [None] * 10
    assert len(teller.asked) == 1
