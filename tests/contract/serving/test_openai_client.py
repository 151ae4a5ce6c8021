"""OpenAI's official Python client against our server."""

from __future__ import annotations

from typing import Any

import grpc
import openai
import pytest

MODEL = "story"


def test_a_completion(door: Any, tell: Any, storyteller: Any) -> None:
    answer = door.openai.completions.create(
        model=MODEL, prompt="Once", max_tokens=5, temperature=0, top_p=0.5, seed=7
    )
    assert answer.choices[0].text == "".join(tell("Once", 5))
    assert answer.model == MODEL
    assert answer.object == "text_completion"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 1
    assert answer.usage.completion_tokens > 1
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert dict(storyteller.asked[0].extra_inputs.items) == {
        "temperature": 0.0,
        "per_example_top_p": 0.5,
        "per_example_max_decode_steps": 5.0,
        "seed": 7.0,
    }


def test_more_than_the_deployment_generates_ends_there(door: Any, storyteller: Any) -> None:
    answer = door.openai.completions.create(model=MODEL, prompt="Once", max_tokens=4000)
    assert storyteller.asked[0].extra_inputs.items["per_example_max_decode_steps"] == 200.0
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 200


def test_a_streamed_completion(door: Any, tell: Any) -> None:
    stream = door.openai.completions.create(
        model=MODEL,
        prompt="Once",
        max_tokens=9,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    pieces = [chunk.choices[0].text for chunk in chunks if chunk.choices]
    assert "".join(pieces) == "".join(tell("Once", 9))
    assert len([piece for piece in pieces if piece]) == 9
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_chat(door: Any, tell: Any, storyteller: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi é"}]
    answer = door.openai.chat.completions.create(model=MODEL, messages=messages, max_tokens=4)
    prompt = "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi é [/INST]"
    assert storyteller.asked[0].text == prompt
    assert answer.choices[0].message.content == "".join(tell(prompt, 4))
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length")


def test_a_streamed_chat(door: Any, tell: Any) -> None:
    stream = door.openai.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Hi"}],
        max_completion_tokens=6,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == "".join(tell("[INST] Hi [/INST]", 6))
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    assert chunks[-1].usage is not None


@pytest.mark.parametrize("stream", [False, True])
def test_stop_sequences_even_across_pieces(door: Any, tell: Any, *, stream: bool) -> None:
    whole = "".join(tell("Once", 30))
    pieces = tell("Once", 30)
    border = len("".join(pieces[:12]))
    stop = whole[border - 2 : border + 3]
    answer = door.openai.completions.create(
        model=MODEL, prompt="Once", max_tokens=30, stop=[stop, "never"], stream=stream
    )
    if stream:
        chunks = list(answer)
        text = "".join(chunk.choices[0].text for chunk in chunks)
        reason = chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].text, answer.choices[0].finish_reason
    assert text == whole[: whole.index(stop)]
    assert reason == "stop"


def test_models(door: Any) -> None:
    listed = list(door.openai.models.list())
    assert [model.id for model in listed] == [MODEL]
    assert listed[0].created == 1000
    assert door.openai.models.retrieve(MODEL).id == MODEL
    assert door.openai.models.retrieve("/sax/test/story").id == MODEL


def test_the_sax_name_is_a_model_too(door: Any, tell: Any) -> None:
    answer = door.openai.completions.create(model="/sax/test/story", prompt="Once", max_tokens=2)
    assert answer.choices[0].text == "".join(tell("Once", 2))


def test_the_clients_exceptions(door: Any, installation: Any) -> None:
    create = door.openai.completions.create
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="nobody", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        create(model=MODEL, prompt="word " * 200)
    assert long.value.code == "context_length_exceeded"
    assert long.value.param == "prompt"
    with pytest.raises(openai.BadRequestError) as many:
        create(model=MODEL, prompt="x", n=3)
    assert many.value.param == "n"


def test_a_stream_that_breaks_off_raises(door: Any, storyteller: Any, tell: Any) -> None:
    storyteller.breaks_after = 3
    stream = door.openai.completions.create(model=MODEL, prompt="x", max_tokens=9, stream=True)
    texts = [next(stream).choices[0].text for _ in range(3)]
    with pytest.raises(openai.APIError, match="the server fell over"):
        next(stream)
    assert texts == tell("x", 3)


def test_a_stream_that_cannot_begin_is_an_ordinary_error(door: Any, storyteller: Any) -> None:
    storyteller.refusals = [(grpc.StatusCode.INVALID_ARGUMENT, "unknown extra input seed")]
    with pytest.raises(openai.BadRequestError, match="unknown extra input seed"):
        door.openai.completions.create(model=MODEL, prompt="x", seed=1, stream=True)


def test_keys(open_door: Any, storyteller: Any) -> None:
    door = open_door(api_keys=("one",))
    assert list(door.openai.models.list())
    stranger = door.openai.with_options(api_key="two")
    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.models.list()
    assert caught.value.code == "invalid_api_key"


def test_a_server_that_cannot_stream_answers_in_one_piece(
    open_door: Any, installation: Any, storyteller: Any, tell: Any
) -> None:
    installation.deploy("whole", storyteller.address, stream=False)
    stream = open_door().openai.completions.create(
        model="whole", prompt="Once", max_tokens=3, stream=True
    )
    texts = [chunk.choices[0].text for chunk in stream if chunk.choices[0].text]
    assert texts == ["".join(tell("Once", 3))]
