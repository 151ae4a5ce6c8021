"""Read the bodies of HTTP requests; whatever cannot be done is refused by name.

Source: OpenAI API reference (completions, chat completions); facts on the tutorial's HTTP server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from saxflow.errors import RequestError
from saxflow.serving.chat import Message, prompt_of

TUTORIAL_DEFAULTS = {
    "temperature": 0.5,
    "per_example_max_decode_steps": 128.0,
    "per_example_top_k": 200.0,
    "per_example_top_p": 0.95,
}
"""What the tutorial's server sends where the request says nothing."""

COMPLETION_TOKENS = 16
"""OpenAI's default length of a completion; a chat answers as long as the deployment may."""

MAX_STOPS = 4
MAX_EXACT = 2**24
"""SAX carries numbers as float32, which holds integers exactly up to here."""


@dataclass(frozen=True)
class Completion:
    """What is asked of a model, whichever API it came through.

    Args:
        model: a deployment's name or `/sax/<cell>/<model>`.
        prompt: text as the model server takes it.
        options: extra inputs, without the number of steps.
        max_tokens: tokens wanted; None means as many as the deployment allows.
        stops: sequences that end the text.
        stream: answer in pieces.
        include_usage: a last piece with token counts.
        chat: shape of the answer.
    """

    model: str
    prompt: str
    options: Mapping[str, float]
    max_tokens: int | None
    stops: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    chat: bool = False


@dataclass(frozen=True)
class TutorialRequest:
    """`POST /generate` of the tutorial; no extra inputs at all when the body has null there."""

    model: str
    query: str
    extra_inputs: Mapping[str, float]


def parse_object(body: bytes) -> dict[str, Any]:
    """Return a request's JSON object.

    Raises:
        RequestError: it is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise RequestError(
            f"the body is a JSON {type(value).__name__}; an object was expected",
            code="invalid_json",
        )
    return cast("dict[str, Any]", value)


def parse_tutorial(body: Mapping[str, Any]) -> TutorialRequest:
    """Read `{"model", "query", "extra_inputs"?}`.

    Raises:
        RequestError: a field is missing or of the wrong type.
    """
    given = body.get("extra_inputs", {})
    if given is None:
        inputs: dict[str, float] = {}
    elif isinstance(given, dict):
        inputs = {**TUTORIAL_DEFAULTS, **_numbers(cast("dict[str, Any]", given))}
    else:
        raise RequestError("extra_inputs must be an object or null", param="extra_inputs")
    return TutorialRequest(_text(body, "model"), _text(body, "query"), inputs)


def parse_completion(body: Mapping[str, Any]) -> Completion:
    """Read a request of `/v1/completions`.

    Raises:
        RequestError: a field is missing, wrong, or asks for what SAX cannot do.
    """
    _refuse(body, {**_UNSUPPORTED, **_UNSUPPORTED_COMPLETION})
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise RequestError(
            "prompt must be a string (one prompt a request; token ids are not taken)",
            param="prompt",
        )
    limit = _integer(body, "max_tokens", 1)
    return _completion(body, _encodable(prompt, "prompt"), limit or COMPLETION_TOKENS, chat=False)


def parse_chat(body: Mapping[str, Any]) -> Completion:
    """Read a request of `/v1/chat/completions`.

    Raises:
        RequestError: as `parse_completion`.
    """
    _refuse(body, {**_UNSUPPORTED, **_UNSUPPORTED_CHAT})
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError("messages must be a list with at least one message", param="messages")
    turns = [_message(index, value) for index, value in enumerate(cast("list[Any]", messages))]
    limit = _integer(body, "max_completion_tokens", 1) or _integer(body, "max_tokens", 1)
    return _completion(body, prompt_of(turns), limit, chat=True)


def _completion(
    body: Mapping[str, Any], prompt: str, max_tokens: int | None, *, chat: bool
) -> Completion:
    stream_options = body.get("stream_options") or {}
    if not isinstance(stream_options, dict):
        raise RequestError("stream_options must be an object", param="stream_options")
    return Completion(
        model=_text(body, "model"),
        prompt=prompt,
        options=_options(body),
        max_tokens=max_tokens,
        stops=_stops(body.get("stop")),
        stream=_boolean(body, "stream"),
        include_usage=_boolean(cast("dict[str, Any]", stream_options), "include_usage"),
        chat=chat,
    )


def _options(body: Mapping[str, Any]) -> dict[str, float]:
    temperature = _number(body, "temperature", 0.0, 2.0)
    top_p = _number(body, "top_p", 0.0, 1.0)
    top_k = _integer(body, "top_k", 0)
    seed = _integer(body, "seed", None)
    options = {"temperature": 1.0 if temperature is None else temperature}
    if top_p is not None:
        options["per_example_top_p"] = top_p
    if top_k is not None:
        options["per_example_top_k"] = float(min(top_k, MAX_EXACT))
    if seed is not None:
        options["seed"] = float(seed % MAX_EXACT)
    return options


def _stops(value: Any) -> tuple[str, ...]:
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or len(cast("list[Any]", stops)) > MAX_STOPS
        or not all(isinstance(stop, str) and stop for stop in cast("list[Any]", stops))
    ):
        raise RequestError(
            f"stop must be a non-empty string or a list of at most {MAX_STOPS}", param="stop"
        )
    return tuple(cast("list[str]", stops))


def _message(index: int, value: Any) -> Message:
    if not isinstance(value, dict):
        raise RequestError(f"messages[{index}] must be an object", param="messages")
    message = cast("dict[str, Any]", value)
    role = message.get("role")
    role = "system" if role == "developer" else role
    if role not in ("system", "user", "assistant"):
        raise RequestError(
            f"messages[{index}].role is {role!r}; use system, user or assistant", param="messages"
        )
    return Message(role, _encodable(_content(index, message.get("content")), "messages"))


def _content(index: int, value: Any) -> str:
    """Return the text of a message: a string, or a list of parts of type text."""
    if isinstance(value, str):
        return value
    parts = cast("list[Any]", value) if isinstance(value, list) else []
    texts = [
        part["text"]
        for part in parts
        if isinstance(part, dict)
        and part.get("type") == "text"
        and isinstance(part.get("text"), str)
    ]
    if not parts or len(texts) != len(parts):
        raise RequestError(
            f"messages[{index}].content must be a string or parts of type text", param="messages"
        )
    return "".join(texts)


def _encodable(text: str, param: str) -> str:
    """Return a text that UTF-8 can carry; JSON may spell half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RequestError(
            f"{param} holds half of a surrogate pair at character {error.start}", param=param
        ) from error
    return text


def _refuse(body: Mapping[str, Any], unsupported: Mapping[str, Callable[[Any], bool]]) -> None:
    for name, harmless in unsupported.items():
        if name in body and body[name] is not None and not harmless(body[name]):
            raise RequestError(
                f"{name} = {json.dumps(body[name])[:80]} is not supported; leave it out",
                param=name,
                code="unsupported_parameter",
            )


def _is(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(value == known and type(value) is type(known) for known in values)


_NOTHING = _is([], {}, False, "")
_UNSUPPORTED: Mapping[str, Callable[[Any], bool]] = {
    "n": _is(1),
    "logprobs": _is(False),
    "logit_bias": _NOTHING,
    "presence_penalty": _is(0, 0.0),
    "frequency_penalty": _is(0, 0.0),
}
"""Field -> the values that ask for nothing special."""

_UNSUPPORTED_COMPLETION = {"best_of": _is(1), "echo": _is(False), "suffix": _is("")}
_UNSUPPORTED_CHAT: Mapping[str, Callable[[Any], bool]] = {
    "top_logprobs": _is(0),
    "tools": _NOTHING,
    "functions": _NOTHING,
    "tool_choice": _is("none", "auto"),
    "function_call": _is("none", "auto"),
    "response_format": _is({"type": "text"}),
    "modalities": _is(["text"]),
    "audio": _NOTHING,
}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or (name == "model" and not value):
        raise RequestError(f"{name} is missing; it must be a string", param=name)
    return _encodable(value, name)


def _boolean(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false", param=name)
    return bool(value)


def _integer(body: Mapping[str, Any], name: str, least: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or (least is not None and value < least)
    ):
        bound = "" if least is None else f" of at least {least}"
        raise RequestError(f"{name} must be an integer{bound}", param=name)
    return value


def _number(body: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise RequestError(f"{name} must be a number from {least:g} to {most:g}", param=name)
    return float(value)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Read extra inputs, taking numbers in quotes as the tutorial's server does."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise RequestError(f"extra_inputs.{name} must be a number", param="extra_inputs")
        numbers[name] = number
    return numbers
