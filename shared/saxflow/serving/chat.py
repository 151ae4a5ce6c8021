"""Llama 2's chat template: from messages to one prompt.

SAX prepends BOS itself and takes text only, so the EOS and BOS that Meta's code puts between two
turns as token ids cannot be expressed; their spelling `</s><s>` would reach the model as letters.
Turns are therefore joined without them.

Source: meta-llama/llama `llama/generation.py` (chat_completion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saxflow.errors import RequestError

_BEGIN, _END = "[INST]", "[/INST]"
_BEGIN_SYSTEM, _END_SYSTEM = "<<SYS>>\n", "\n<</SYS>>\n\n"
_TAGS = (_BEGIN, _END, "<<SYS>>", "<</SYS>>")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; role is `system`, `user` or `assistant`."""

    role: str
    content: str


def prompt_of(messages: Sequence[Message]) -> str:
    """Return the prompt that asks for the next assistant turn.

    Raises:
        RequestError: the roles do not alternate, or a turn contains the template's own tags.
    """
    for index, message in enumerate(messages):
        if any(tag in message.content for tag in _TAGS):
            raise RequestError(
                f"messages[{index}] contains a tag of the chat template ({', '.join(_TAGS)});"
                " remove it, or send a finished prompt to /v1/completions",
                param="messages",
            )
    turns = _merge_system(messages)
    _check_order(turns)
    return " ".join(
        f"{_BEGIN} {turn.content.strip()} {_END}" if turn.role == "user" else turn.content.strip()
        for turn in turns
    )


def _merge_system(messages: Sequence[Message]) -> list[Message]:
    """Return the turns with a leading system message moved into the first user turn."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return list(messages)
    system, first = messages[0].content.strip(), messages[1].content
    joined = f"{_BEGIN_SYSTEM}{system}{_END_SYSTEM}{first}"
    return [Message("user", joined), *messages[2:]]


def _check_order(turns: Sequence[Message]) -> None:
    expected = ["user" if index % 2 == 0 else "assistant" for index in range(len(turns))]
    if not turns or [turn.role for turn in turns] != expected or turns[-1].role != "user":
        raise RequestError(
            "messages must be an optional system message, then user and assistant in turn,"
            " ending with user",
            param="messages",
        )
