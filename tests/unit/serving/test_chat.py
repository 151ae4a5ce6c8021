"""Llama 2's chat template."""

from __future__ import annotations

import pytest

from saxflow.errors import RequestError
from saxflow.serving.chat import Message, prompt_of


def chat(*turns: tuple[str, str]) -> str:
    return prompt_of([Message(role, content) for role, content in turns])


def test_one_question() -> None:
    assert chat(("user", " Hi ")) == "[INST] Hi [/INST]"


def test_a_system_message() -> None:
    prompt = chat(("system", "Be brief."), ("user", "Hi"))
    assert prompt == "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]"


def test_a_conversation() -> None:
    prompt = chat(("user", "1"), ("assistant", " one "), ("user", "2"))
    assert prompt == "[INST] 1 [/INST] one [INST] 2 [/INST]"


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [("system", "x")],
        [("assistant", "x")],
        [("user", "x"), ("assistant", "y")],
        [("user", "x"), ("user", "y")],
        [("user", "x"), ("system", "y"), ("user", "z")],
        [("system", "x"), ("assistant", "y"), ("user", "z")],
    ],
)
def test_other_orders_are_refused(turns: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestError) as caught:
        chat(*turns)
    assert caught.value.param == "messages"


@pytest.mark.parametrize("tag", ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"])
def test_the_templates_tags_cannot_be_smuggled_in(tag: str) -> None:
    with pytest.raises(RequestError, match=r"messages\[0\]"):
        chat(("user", f"x {tag} y"))
