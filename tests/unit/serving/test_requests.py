"""Bodies of requests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saxflow.errors import RequestError
from saxflow.serving.requests import (
    TUTORIAL_DEFAULTS,
    parse_chat,
    parse_completion,
    parse_object,
    parse_tutorial,
)

HELLO = {"model": "llama", "prompt": "Hi"}
CHAT: dict[str, Any] = {"model": "llama", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b'"x"', b"[" * 100_000])
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_the_tutorials_defaults_are_always_sent() -> None:
    request = parse_tutorial({"model": "/sax/test/m", "query": "Hi"})
    assert request.extra_inputs == TUTORIAL_DEFAULTS
    assert TUTORIAL_DEFAULTS == {
        "temperature": 0.5,
        "per_example_max_decode_steps": 128,
        "per_example_top_k": 200,
        "per_example_top_p": 0.95,
    }


def test_the_tutorials_extra_inputs() -> None:
    body: dict[str, Any] = {"model": "m", "query": "", "extra_inputs": {"temperature": "0.1"}}
    assert parse_tutorial(body).extra_inputs == {**TUTORIAL_DEFAULTS, "temperature": 0.1}
    assert parse_tutorial({**body, "extra_inputs": None}).extra_inputs == {}


@pytest.mark.parametrize("inputs", [[], "x", 3, {"temperature": "hot"}, {"a": None}, {"a": True}])
def test_bad_extra_inputs(inputs: Any) -> None:
    with pytest.raises(RequestError) as caught:
        parse_tutorial({"model": "m", "query": "q", "extra_inputs": inputs})
    assert caught.value.param == "extra_inputs"


@pytest.mark.parametrize("missing", ["model", "query"])
def test_the_tutorials_fields_are_required(missing: str) -> None:
    body = {key: "x" for key in ("model", "query") if key != missing}
    with pytest.raises(RequestError) as caught:
        parse_tutorial(body)
    assert caught.value.param == missing


def test_a_completion_has_openais_defaults() -> None:
    wanted = parse_completion(HELLO)
    assert (wanted.prompt, wanted.max_tokens, wanted.stream, wanted.chat) == (
        "Hi",
        16,
        False,
        False,
    )
    assert wanted.options == {"temperature": 1.0}
    assert wanted.stops == ()


def test_a_completion_with_everything() -> None:
    wanted = parse_completion(
        {
            **HELLO,
            "prompt": ["Hi"],
            "max_tokens": 5,
            "temperature": 0,
            "top_p": 0.5,
            "top_k": 7,
            "seed": 2**24 + 3,
            "stop": ["a", "b"],
            "stream": True,
            "stream_options": {"include_usage": True},
            "n": 1,
            "user": "somebody",
            "echo": False,
            "logprobs": None,
        }
    )
    assert wanted.options == {
        "temperature": 0.0,
        "per_example_top_p": 0.5,
        "per_example_top_k": 7.0,
        "seed": 3.0,
    }
    assert (wanted.max_tokens, wanted.stops) == (5, ("a", "b"))
    assert wanted.stream
    assert wanted.include_usage


def test_a_chat() -> None:
    wanted = parse_chat({**CHAT, "max_completion_tokens": 3, "stop": "x"})
    assert (wanted.prompt, wanted.max_tokens, wanted.chat) == ("[INST] Hi [/INST]", 3, True)
    assert wanted.stops == ("x",)
    assert parse_chat(CHAT).max_tokens is None


def test_a_chat_in_parts_and_with_a_developer() -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    messages = [{"role": "developer", "content": "S"}, {"role": "user", "content": parts}]
    wanted = parse_chat({**CHAT, "messages": messages})
    assert wanted.prompt == "[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST]"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "0"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"seed": 1.5}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 3}, "stream_options"),
        ({"n": 2}, "n"),
        ({"n": True}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 5}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
    ],
)
def test_what_a_completion_cannot_have(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_completion({**HELLO, **change})
    assert caught.value.param == param
    assert param in str(caught.value)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": []}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ],
)
def test_what_a_chat_cannot_have(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_chat({**CHAT, **change})
    assert caught.value.param == param


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [
        "model",
        "prompt",
        "messages",
        "query",
        "extra_inputs",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "n",
        "best_of",
        "logprobs",
        "echo",
        "tools",
        "response_format",
    ]
)


@given(body=st.dictionaries(FIELDS, ANYTHING, max_size=6), parse=st.sampled_from([0, 1, 2]))
def test_any_json_is_read_or_refused(body: dict[str, Any], parse: int) -> None:
    base = [{"model": "m", "query": "q"}, HELLO, CHAT][parse]
    with suppress(RequestError):
        (parse_tutorial, parse_completion, parse_chat)[parse]({**base, **body})
