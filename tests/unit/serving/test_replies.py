"""Bodies of replies."""

from __future__ import annotations

import json

from saxflow.sax import Generated
from saxflow.serving import replies
from saxflow.serving.replies import Envelope, Usage


def test_the_tutorials_array_is_bare_indented_and_legal_json() -> None:
    body = replies.tutorial_body([Generated("é😀", -1.5), Generated("", float("-inf"))])
    assert json.loads(body) == [["é😀", -1.5], ["", None]]
    assert body.startswith(b"[\n    [\n        ")


def test_a_whole_chat() -> None:
    body = Envelope("1", 2, "llama", chat=True).whole("Hi", "stop", Usage(3, 4))
    assert body["object"] == "chat.completion"
    assert body["id"] == "chatcmpl-1"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hi"}
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_a_whole_completion_without_counts() -> None:
    body = Envelope("1", 2, "llama", chat=False).whole("Hi", "length", None)
    assert (body["object"], body["choices"][0]["text"]) == ("text_completion", "Hi")
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"] is None


def test_the_pieces_of_a_chat() -> None:
    envelope = Envelope("1", 2, "llama", chat=True)
    assert envelope.opening()[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert envelope.piece("é")["choices"][0]["delta"] == {"content": "é"}
    last, counts = envelope.closing("stop", Usage(1, 2), include_usage=True)
    assert last["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert (counts["choices"], counts["usage"]["total_tokens"]) == ([], 3)


def test_the_pieces_of_a_completion() -> None:
    envelope = Envelope("1", 2, "llama", chat=False)
    assert envelope.opening() == []
    assert envelope.piece("a")["choices"][0]["text"] == "a"
    assert len(envelope.closing("stop", None, include_usage=False)) == 1


def test_events_and_models() -> None:
    assert replies.sse({"a": "é"}) == 'data: {"a":"é"}\n\n'.encode()
    assert replies.STREAM_END == b"data: [DONE]\n\n"
    entry = replies.model_entry("llama", 5, "/sax/test/m")
    assert (entry["id"], entry["object"], entry["created"]) == ("llama", "model", 5)
