"""The bodies of HTTP replies: the tutorial's array, OpenAI's objects and their streamed pieces.

Source: OpenAI API reference (completions, chat completions, models).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from saxflow.sax.values import Generated

STREAM_END = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Usage:
    """Tokens of a prompt, BOS included, and of its completion."""

    prompt_tokens: int
    completion_tokens: int

    def as_dict(self) -> dict[str, int]:
        """Return OpenAI's usage object."""
        return {**vars(self), "total_tokens": self.prompt_tokens + self.completion_tokens}


@dataclass(frozen=True)
class Envelope:
    """What all pieces of one answer share.

    Args:
        identifier: unique, without prefix.
        created: Unix seconds.
        model: the name the client used.
        chat: OpenAI's chat shapes, else its completion shapes.
    """

    identifier: str
    created: int
    model: str
    chat: bool

    def whole(self, text: str, finish_reason: str, usage: Usage | None) -> dict[str, Any]:
        """Return the body of an answer that is not streamed."""
        content = (
            {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        )
        kind = "chat.completion" if self.chat else "text_completion"
        return {
            **self._common(kind),
            "choices": [_choice(content, finish_reason)],
            "usage": usage.as_dict() if usage else None,
        }

    def opening(self) -> list[dict[str, Any]]:
        """Return the pieces before any text: a chat names the role first."""
        if not self.chat:
            return []
        return [self._piece({"delta": {"role": "assistant", "content": ""}}, None)]

    def piece(self, text: str) -> dict[str, Any]:
        """Return one piece of text."""
        return self._piece({"delta": {"content": text}} if self.chat else {"text": text}, None)

    def closing(
        self, finish_reason: str, usage: Usage | None, *, include_usage: bool
    ) -> list[dict[str, Any]]:
        """Return the pieces after the last text."""
        last = self._piece({"delta": {}} if self.chat else {"text": ""}, finish_reason)
        if not include_usage:
            return [last]
        counts = usage.as_dict() if usage else None
        return [last, {**self._common(self._piece_kind), "choices": [], "usage": counts}]

    @property
    def _piece_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _piece(self, content: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        return {**self._common(self._piece_kind), "choices": [_choice(content, finish_reason)]}

    def _common(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl-" if self.chat else "cmpl-"
        return {
            "id": f"{prefix}{self.identifier}",
            "object": kind,
            "created": self.created,
            "model": self.model,
        }


def model_entry(name: str, created: int, sax_model: str) -> dict[str, Any]:
    """Return one entry of `/v1/models`."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "saxflow",
        "sax_model": sax_model,
    }


def tutorial_body(samples: Sequence[Generated]) -> bytes:
    """Return `[[text, score], ...]`, indented as the tutorial's server does."""
    pairs = [[sample.text, _finite(sample.score)] for sample in samples]
    return json.dumps(pairs, ensure_ascii=False, allow_nan=False, indent=4).encode()


def sse(value: dict[str, Any]) -> bytes:
    """Return one server-sent event."""
    return b"data: " + json_bytes(value) + b"\n\n"


def json_bytes(value: Any) -> bytes:
    """Return compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _choice(content: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}


def _finite(score: float) -> float | None:
    return score if math.isfinite(score) else None
