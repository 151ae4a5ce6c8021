"""Text in, text out, over the golden model."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from saxflow.cell.engine import Engine
from saxflow.cell.programs import Programs
from saxflow.cell.served import Served
from saxflow.errors import SaxError
from saxflow.sax import messages as m
from saxflow.sax.servable import Servable
from saxflow.sax.tokenizer import IdsTokenizer, load_tokenizer
from saxflow.sax.values import Transcript


@pytest.fixture
def served(servable: Servable, programs: Programs) -> Generator[Served]:
    engine = Engine(programs, servable.batch)
    yield Served(servable, IdsTokenizer(servable.vocab), engine)
    engine.close()


def request(text: str, **items: float) -> m.GenerateRequest:
    return m.GenerateRequest(text=text, extra_inputs=m.ExtraInputs(items=items))


def test_concurrent_requests_get_the_real_servers_answers(
    served: Served, cases: dict[str, Any]
) -> None:
    async def run() -> list[m.GenerateResponse]:
        asked = [request(prompt, per_example_max_decode_steps=16) for prompt in [*cases] * 4]
        return await asyncio.gather(*(served.generate(one) for one in asked))

    for reply, case in zip(asyncio.run(run()), [*cases.values()] * 4, strict=True):
        assert reply.texts[0].text == case["sax_text"]
        assert reply.texts[0].score == pytest.approx(case["sax_score"], abs=1e-4)


def test_a_stream_adds_up_to_the_answer(served: Served) -> None:
    async def run() -> Any:
        transcript = Transcript()
        async for reply in served.generate_stream(request("3", per_example_max_decode_steps=16)):
            (sample,) = transcript.extend(reply)
        return sample

    sample = asyncio.run(run())
    assert sample.text == "85,295,250,138,257,149,106,44,217,295,253,20,129,148,275,180"
    assert sample.score == pytest.approx(-50.985191345214844, abs=1e-4)


def test_a_stream_of_bytes_shows_whole_characters(
    servable: Servable, programs: Programs, golden: Any
) -> None:
    tokenizer = load_tokenizer(f"file://{golden}/tiny320.model", servable.vocab)

    async def run() -> tuple[str, str]:
        engine = Engine(programs, servable.batch)
        served = Served(servable, tokenizer, engine)
        ask = request("hé", temperature=2.0, seed=11)
        streamed = ""
        async for reply in served.generate_stream(ask):
            assert reply.items[0].prefix_len == len(streamed)
            streamed += reply.items[0].text
        whole = await served.generate(ask)
        engine.close()
        return streamed, whole.texts[0].text

    streamed, whole = asyncio.run(run())
    assert streamed == whole


def test_a_seed_repeats_and_another_differs(served: Served) -> None:
    async def run() -> list[str]:
        replies = [await served.generate(request("3", temperature=2, seed=s)) for s in (5, 5, 6)]
        return [reply.texts[0].text for reply in replies]

    first, again, other = asyncio.run(run())
    assert first == again != other


def test_score_covers_the_suffix(served: Served) -> None:
    async def run(suffix: list[str]) -> m.ScoreResponse:
        return await served.score(m.ScoreRequest(prefix="45,100,7", suffix=suffix))

    assert asyncio.run(run(["201,300,12"])).logp[0] == pytest.approx(-18.7677269, abs=1e-4)
    assert list(asyncio.run(run([])).logp) == [0.0]
    with pytest.raises(SaxError, match="Only one suffix"):
        asyncio.run(run(["1", "2"]))


def test_bad_text_is_refused(served: Served) -> None:
    for call in (
        served.generate(request("no ids")),
        served.score(m.ScoreRequest(suffix=["no ids"])),
        served.generate(request("3", nope=1)),
        served.score(m.ScoreRequest(extra_inputs=m.ExtraInputs(items={"temperature": 1}))),
    ):
        with pytest.raises(SaxError) as caught:
            asyncio.run(call)
        assert caught.value.code == "INVALID_ARGUMENT"


def test_an_over_long_prompt_is_cut(served: Served, servable: Servable) -> None:
    long = ",".join(["9"] * (servable.input_len + 20))
    cut = ",".join(["9"] * (servable.input_len - 1))

    async def run() -> tuple[str, str]:
        replies = [await served.generate(request(text)) for text in (long, cut)]
        return replies[0].texts[0].text, replies[1].texts[0].text

    first, second = asyncio.run(run())
    assert first == second


def test_a_shorter_servable_gives_fewer_tokens(served: Served, servable: Servable) -> None:
    short = replace(served, servable=replace(servable, max_new_tokens=2))
    assert len(asyncio.run(short.generate(request("3"))).texts[0].text.split(",")) == 2
