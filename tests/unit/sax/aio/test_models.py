"""Questions to a model, and the servers that take them over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from saxflow.errors import ProtocolError, SaxError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.aio import AsyncCell
from saxflow.sax.names import ModelName
from saxflow.sax.values import Generated

from .servers import LLAMA, NOT_FOUND, Server, collected, run, watched


def test_addresses_are_shared_until_the_model_is_gone(root: str, server: Server) -> None:
    server.answers[methods.WATCH_LOC] = [("UNKNOWN", NOT_FOUND)]

    async def use(cell: AsyncCell) -> None:
        name = ModelName.parse(LLAMA)
        first = cell.addresses(name)
        assert cell.addresses(name) is first
        with pytest.raises(SaxError, match="not found") as caught:
            await cell.model(LLAMA).generate("x", deadline_seconds=5)
        assert caught.value.code == "NOT_FOUND"
        assert cell.addresses(name) is not first

    run(root, use)


def test_samples_are_returned_in_the_servers_order(root: str, server: Server) -> None:
    texts = [m.DecodedText(text="b", score=-2.0), m.DecodedText(text="été 😀", score=-1.0)]
    server.answers[methods.GENERATE] = [m.GenerateResponse(texts=texts)]
    options = {"temperature": 0.5, "stop": "x", "bias": [1, 2.5], "k": 2**24}
    found = run(root, lambda cell: cell.model(LLAMA).generate("Hi é\0\n", options))
    assert found == (Generated("b", -2.0), Generated("été 😀", -1.0))
    (request,) = server.asked(methods.GENERATE)
    assert (request.model_key, request.text) == (LLAMA, "Hi é\0\n")
    assert dict(request.extra_inputs.items) == {"temperature": 0.5, "k": 2.0**24}
    assert dict(request.extra_inputs.strings) == {"stop": "x"}
    assert list(request.extra_inputs.tensors["bias"].values) == [1.0, 2.5]


@pytest.mark.parametrize("options", [None, {}])
def test_extra_inputs_are_there_even_when_there_are_none(
    root: str, server: Server, options: Any
) -> None:
    server.answers[methods.GENERATE] = [m.GenerateResponse()]
    assert run(root, lambda cell: cell.model(LLAMA).generate("", options)) == ()
    assert server.asked(methods.GENERATE)[0].HasField("extra_inputs")


def test_scores_of_every_suffix(root: str, server: Server) -> None:
    server.answers[methods.SCORE] = [m.ScoreResponse(logp=[-1.5, -2.5])]
    assert run(root, lambda cell: cell.model(LLAMA).score("a", ["b", ""])) == (-1.5, -2.5)
    assert list(server.asked(methods.SCORE)[0].suffix) == ["b", ""]


def grown(*pieces: tuple[str, int]) -> list[m.GenerateStreamResponse]:
    items = [
        m.GenerateStreamItem(text=text, prefix_len=kept, scores=[-1.0]) for text, kept in pieces
    ]
    return [m.GenerateStreamResponse(items=[item]) for item in items]


def test_a_stream_grows(root: str, server: Server) -> None:
    server.answers[methods.GENERATE_STREAM] = [grown(("日本", 0), ("語", 2), ("!", 1))]
    found = run(root, lambda cell: collected(cell.model(LLAMA).generate_stream("x")))
    assert [samples[0].text for samples in found] == ["日本", "日本語", "日!"]


@pytest.mark.parametrize("kept", [3, -1])
def test_a_stream_that_keeps_what_was_not_there(root: str, server: Server, kept: int) -> None:
    server.answers[methods.GENERATE_STREAM] = [grown(("ab", 0), ("c", kept))]
    with pytest.raises(ProtocolError, match=f"GenerateStream keeps {kept} of 2 characters"):
        run(root, lambda cell: collected(cell.model(LLAMA).generate_stream("x")))


def test_patience_ends_before_the_deadline(root: str, server: Server) -> None:
    server.answers[methods.GENERATE] = [("UNAVAILABLE", "loading")]
    with pytest.raises(SaxError, match="loading") as caught:
        run(
            root,
            lambda cell: cell.model(LLAMA).generate(
                "x", deadline_seconds=60, patience_seconds=0.05
            ),
        )
    assert caught.value.code == "UNAVAILABLE"


def test_a_stream_is_begun_again_only_before_its_first_reply(root: str, server: Server) -> None:
    again = [("UNAVAILABLE", "loading"), grown(("a", 0))]
    server.answers[methods.GENERATE_STREAM] = again
    found = run(root, lambda cell: collected(cell.model(LLAMA).generate_stream("x")))
    assert [samples[0].text for samples in found] == ["a"]
    assert len(server.asked(methods.GENERATE_STREAM)) == 2


def test_a_model_server_that_has_gone(root: str, server: Server, dead_address: str) -> None:
    server.answers[methods.WATCH_LOC] = [watched(dead_address), None]
    with pytest.raises(SaxError) as caught:
        run(root, lambda cell: cell.model(LLAMA).generate("x", patience_seconds=0.0))
    assert str(caught.value) == f"Generate of {LLAMA}: nobody answers at {dead_address}"
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)


def test_another_server_takes_over(root: str, server: Server, dead_address: str) -> None:
    server.answers[methods.WATCH_LOC] = [watched(dead_address, server.address), None]
    server.answers[methods.GENERATE] = [m.GenerateResponse(texts=[m.DecodedText(text="a")])]

    async def use(cell: AsyncCell) -> None:
        for _ in range(4):
            assert (await cell.model(LLAMA).generate("x", deadline_seconds=10))[0].text == "a"

    run(root, use)


def test_questions_at_once_follow_the_addresses_once(root: str, server: Server) -> None:
    server.answers[methods.GENERATE] = [m.GenerateResponse()]

    async def use(cell: AsyncCell) -> None:
        await asyncio.gather(*(cell.model(LLAMA).generate(str(n)) for n in range(12)))

    run(root, use)
    assert sorted(int(one.text) for one in server.asked(methods.GENERATE)) == list(range(12))
    assert len(server.asked(methods.WATCH_LOC)) <= 2


def test_closing_ends_following(root: str, server: Server) -> None:
    server.answers[methods.GENERATE] = [m.GenerateResponse()]

    async def use(cell: AsyncCell) -> None:
        await cell.model(LLAMA).generate("x")
        await cell.close()
        await cell.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(root, use)
