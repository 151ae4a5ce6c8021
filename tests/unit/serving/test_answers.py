"""One completion: limits, pieces, why it ended, what was counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from saxflow.errors import InputError, NotFoundError, RequestError
from saxflow.sax.names import ModelName
from saxflow.sax.servable import Servable
from saxflow.sax.tokenizer import IdsTokenizer
from saxflow.serving.answers import Answer, check_prompt, prepare
from saxflow.serving.backends import Backends
from saxflow.serving.deployments import Target
from saxflow.serving.replies import Usage
from saxflow.serving.requests import Completion

TINY = Path(__file__).parents[2] / "data/golden/tiny320.model"
Make = Callable[..., Backends]


def completion(**fields: Any) -> Completion:
    base: dict[str, Any] = {"model": "story", "prompt": "1,2", "options": {}, "max_tokens": 5}
    return Completion(**{**base, **fields})


def answer(make: Make, wanted: Completion) -> tuple[list[str], Answer]:
    """Return an answer's pieces and the answer."""

    async def run() -> tuple[list[str], Answer]:
        backends = make()
        try:
            found = await prepare(backends, wanted)
            async with aclosing(found.pieces(20)) as pieces:
                return [piece async for piece in pieces], found
        finally:
            await backends.close()

    return asyncio.run(run())


def steps(teller: Any) -> float:
    return teller.asked[-1].extra_inputs.items["per_example_max_decode_steps"]


# Prompts


def target(**servable: Any) -> Target:
    facts = {"layers": 1, "heads": 1, "kv_heads": 1, "head_dim": 8, "model_dim": 8, "hidden_dim": 8,
             "vocab": 10, "tokenizer": "ids:", "input_len": 4, **servable}  # fmt: skip
    return Target("story", ModelName.parse("/sax/test/m"), "/root", Servable(**facts), 0)


@pytest.mark.parametrize(("prompt", "tokens"), [("", 1), ("  ", 1), ("3", 2), ("1,2,3", 4)])
def test_prompts_are_counted_with_their_bos(prompt: str, tokens: int) -> None:
    counted = check_prompt(target(), IdsTokenizer(10), prompt, "prompt")
    assert asyncio.run(counted) == tokens


def test_prompts_that_are_too_long() -> None:
    with pytest.raises(RequestError) as caught:
        asyncio.run(check_prompt(target(), IdsTokenizer(10), "1,2,3,4", "messages"))
    assert str(caught.value) == "the prompt has 5 tokens, BOS included; story takes at most 4"
    error = caught.value
    assert (error.param, error.code, error.status) == ("messages", "context_length_exceeded", 400)


@pytest.mark.parametrize("prompt", ["Hello", "1,,2", "10", "-1", "1.5", "9" * 5000, "é"])
def test_prompts_that_are_no_text_of_the_model(prompt: str) -> None:
    with pytest.raises(RequestError, match=r"^query: ") as caught:
        asyncio.run(check_prompt(target(), IdsTokenizer(10), prompt, "query"))
    assert caught.value.param == "query"


def test_without_a_vocabulary_nothing_is_checked() -> None:
    assert asyncio.run(check_prompt(target(), None, "x" * 10_000, "prompt")) is None


# Preparing


def test_what_is_refused_before_anybody_is_asked(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    installation.deploy("story", teller.address)
    with pytest.raises(NotFoundError, match="nobody"):
        answer(make_backends, completion(model="nobody"))
    for chat, param in ((False, "prompt"), (True, "messages")):
        with pytest.raises(
            RequestError, match="9 tokens, BOS included; story takes at most 8"
        ) as caught:
            answer(make_backends, completion(prompt="1,2,3,4,5,6,7,8", chat=chat))
        assert caught.value.param == param
    assert teller.asked == []


@pytest.mark.parametrize(("wanted", "asked"), [(None, 20), (1, 1), (20, 20), (10**9, 20)])
def test_tokens_that_are_asked_for(
    make_backends: Make, installation: Any, teller: Any, wanted: int | None, asked: int
) -> None:
    installation.deploy("story", teller.address)
    answer(make_backends, completion(max_tokens=wanted, options={"temperature": 0.5}))
    assert (steps(teller), teller.asked[-1].extra_inputs.items["temperature"]) == (asked, 0.5)


# Pieces and what is known at the end


def test_a_whole_answer(make_backends: Make, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    pieces, found = answer(make_backends, completion())
    assert (pieces, found.text) == (["5,6,7"], "5,6,7")
    assert (found.finish_reason, found.usage) == ("stop", Usage(3, 3))


def test_pieces_of_a_stream_are_the_whole(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    installation.deploy("story", teller.address)
    pieces, found = answer(make_backends, completion(stream=True))
    assert all(pieces)
    assert "".join(pieces) == found.text == "5,6,7"


@pytest.mark.parametrize(
    ("most", "reason", "counted"), [(2, "length", 2), (3, "length", 3), (4, "stop", 3)]
)
def test_why_it_ended(
    make_backends: Make, installation: Any, teller: Any, most: int, reason: str, counted: int
) -> None:
    installation.deploy("story", teller.address)
    _, found = answer(make_backends, completion(max_tokens=most))
    assert (found.finish_reason, found.usage) == (reason, Usage(3, counted))


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_ends_the_text_and_the_generation(
    make_backends: Make, installation: Any, teller: Any, *, stream: bool
) -> None:
    installation.deploy("story", teller.address, tokenizer=f"file://{TINY}", input_len=64)
    teller.pieces = ["one ", "two", " th", "ree", " four"]
    pieces, found = answer(
        make_backends, completion(prompt="é", stops=("three", "x"), stream=stream)
    )
    assert "".join(pieces) == found.text == "one two "
    assert (found.finish_reason, found.usage is not None) == ("stop", True)
    assert teller.left.wait(10)


def test_a_stop_amid_the_ids_of_a_model_of_ids(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    installation.deploy("story", teller.address)
    pieces, found = answer(make_backends, completion(stops=("6",)))
    assert ("".join(pieces), found.text) == ("5,", "5,")
    assert (found.finish_reason, found.usage) == ("stop", None), "half an id cannot be counted"


def test_an_empty_answer(make_backends: Make, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    for pieces in ([], [""]):
        teller.pieces = pieces
        for stream in (False, True):
            given, found = answer(make_backends, completion(stream=stream))
            assert (given, found.text, found.finish_reason) == ([], "", "stop")
            assert found.usage == Usage(3, 0)


def test_characters_that_arrive_in_halves(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    installation.deploy("story", teller.address, tokenizer=f"file://{TINY}", input_len=64)
    teller.pieces = ["naïve 😀", "\N{REPLACEMENT CHARACTER}"]
    pieces, found = answer(make_backends, completion(prompt="x", stream=True))
    assert "".join(pieces) == found.text == "naïve 😀\N{REPLACEMENT CHARACTER}"


def test_without_a_vocabulary_nothing_is_counted(
    make_backends: Make, installation: Any, teller: Any, tmp_path: Path
) -> None:
    installation.deploy("story", teller.address, tokenizer=f"file://{tmp_path}/none.model")
    pieces, found = answer(make_backends, completion(prompt="any text", max_tokens=1))
    assert (pieces, found.finish_reason, found.usage) == (["5,6,7"], "stop", None)


def test_numbers_that_sax_does_not_carry(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    installation.deploy("story", teller.address)
    with pytest.raises(InputError, match="finite 32-bit numbers"):
        answer(make_backends, completion(options={"temperature": 1e300}))
