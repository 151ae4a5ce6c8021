"""Our client against a model server's bytes: requests as saxutil sends them, retries, streams."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import pytest

from saxflow.errors import DeadlineError, SaxError
from saxflow.sax import AsyncCell, Cell, Generated, LanguageModel, Model, ModelStatus
from saxflow.sax import messages as m

RECORDS = json.loads(
    (Path(__file__).parents[2] / "data/golden/wire.json").read_text(encoding="utf-8")
)
WATCH = "/sax.Admin/WatchLoc"
GENERATE = "/sax.server.lm.LMService/Generate"
STREAM = "/sax.server.lm.LMService/GenerateStream"
SCORE = "/sax.server.lm.LMService/Score"
LLAMA = "/sax/test/llama"
HELLO = m.GenerateResponse(
    texts=[m.DecodedText(text="hello", score=-1.0), m.DecodedText(text="été 😀", score=-2.0)]
).SerializeToString()
HELLO_VALUE = (Generated("hello", -1.0), Generated("été 😀", -2.0))


def addresses(
    *added: str, seqno: int = 1, gone: tuple[str, ...] = (), admin: str = "admin"
) -> bytes:
    changes = [m.WatchResult.Mutation(addition=address) for address in added]
    changes += [m.WatchResult.Mutation(deletion=address) for address in gone]
    return m.WatchLocResponse(
        admin_server_id=admin, result=m.WatchResult(next_seqno=seqno, changelog=changes)
    ).SerializeToString()


@pytest.fixture
def cell(peer: Any, wait: Any, announce: Callable[[str], str]) -> Generator[Cell]:
    """A cell whose admin and only model server are the peer."""
    peer.answers[WATCH] = [addresses(peer.address), wait()]
    with Cell.open(announce(peer.address), "/sax/test") as opened:
        yield opened


@pytest.fixture
def llama(cell: Cell) -> LanguageModel:
    return cell.model(LLAMA)


def item(text: str, prefix_len: int) -> bytes:
    piece = m.GenerateStreamItem(text=text, prefix_len=prefix_len, scores=[-1.0])
    return m.GenerateStreamResponse(items=[piece]).SerializeToString()


def test_generate_sends_what_saxutil_sends(llama: LanguageModel, peer: Any) -> None:
    peer.answers[GENERATE] = [HELLO]
    options = {"temperature": 0.25, "per_example_max_decode_steps": 7.0}
    assert llama.generate("Hi é", options) == HELLO_VALUE
    sent = m.GenerateRequest.FromString(peer.calls(GENERATE)[0])
    recorded = bytes.fromhex(RECORDS[12]["hex"])
    assert sent == m.GenerateRequest.FromString(recorded)
    assert len(peer.calls(GENERATE)[0]) == len(recorded)


@pytest.mark.parametrize(
    "index", [i for i, r in enumerate(RECORDS) if r.get("method") == GENERATE and i > 12]
)
def test_generate_without_options_is_the_same_byte_for_byte(
    llama: LanguageModel, peer: Any, index: int
) -> None:
    recorded = bytes.fromhex(RECORDS[index]["hex"])
    peer.answers[GENERATE] = [HELLO]
    llama.generate(m.GenerateRequest.FromString(recorded).text)
    assert peer.calls(GENERATE) == [recorded]


def test_stream_sends_what_saxutil_sends(llama: LanguageModel, peer: Any) -> None:
    peer.answers[STREAM] = [[item("x", 0)]]
    assert list(llama.generate_stream("Hi")) == [(Generated("x", -1.0),)]
    assert peer.calls(STREAM) == [bytes.fromhex(RECORDS[13]["hex"])]


@pytest.mark.parametrize("name", ["NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])
@pytest.mark.parametrize("path", [GENERATE, STREAM])
def test_what_saxutil_repeats_is_repeated(
    llama: LanguageModel, peer: Any, refusal: Any, name: str, path: str
) -> None:
    refused = refusal(grpc.StatusCode[name])
    peer.answers[path] = [refused, refused, HELLO if path == GENERATE else [item("x", 0)]]
    if path == GENERATE:
        assert llama.generate("x", deadline_seconds=10) == HELLO_VALUE
    else:
        assert list(llama.generate_stream("x", deadline_seconds=10)) == [(Generated("x", -1.0),)]
    assert len(peer.calls(path)) == 3
    assert len(set(peer.calls(path))) == 1


@pytest.mark.parametrize("name", ["INTERNAL", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "UNKNOWN"])
@pytest.mark.parametrize("path", [GENERATE, STREAM])
def test_nothing_else_is(
    llama: LanguageModel, peer: Any, refusal: Any, name: str, path: str
) -> None:
    peer.answers[path] = [refusal(grpc.StatusCode[name], "its words")]
    ask = (
        llama.generate if path == GENERATE else lambda *a, **k: list(llama.generate_stream(*a, **k))
    )
    with pytest.raises(SaxError, match="its words") as caught:
        ask("x", deadline_seconds=10)
    assert caught.value.code == name
    assert len(peer.calls(path)) == 1


def test_score(llama: LanguageModel, peer: Any) -> None:
    peer.answers[SCORE] = [m.ScoreResponse(logp=[-1.5, -2.5]).SerializeToString()]
    assert llama.score("a", ["b", "c"], {"temperature": 1.0}) == (-1.5, -2.5)
    sent = m.ScoreRequest.FromString(peer.calls(SCORE)[0])
    assert (sent.prefix, list(sent.suffix), sent.model_key) == ("a", ["b", "c"], LLAMA)
    assert sent.HasField("extra_inputs")


def test_a_stream_counts_characters_and_replaces(llama: LanguageModel, peer: Any) -> None:
    peer.answers[STREAM] = [[item("日本", 0), item("語😀\ufffd", 2), item("é", 4), item("!", 5)]]
    texts = [samples[0].text for samples in llama.generate_stream("x")]
    assert texts == ["日本", "日本語😀\ufffd", "日本語😀é", "日本語😀é!"]


def test_an_error_after_the_first_item_is_final(
    llama: LanguageModel, peer: Any, refusal: Any
) -> None:
    peer.answers[STREAM] = [[item("a", 0), refusal(grpc.StatusCode.UNAVAILABLE)]]
    stream = llama.generate_stream("x", deadline_seconds=10)
    assert next(stream)[0].text == "a"
    with pytest.raises(SaxError) as caught:
        next(stream)
    assert caught.value.code == "UNAVAILABLE"
    assert not caught.value.retryable
    assert len(peer.calls(STREAM)) == 1


def test_leaving_a_stream_cancels_it_on_the_server(
    llama: LanguageModel, peer: Any, wait: Any
) -> None:
    peer.answers[STREAM] = [[item("a", 0), wait()]]
    stream = llama.generate_stream("x")
    next(stream)
    peer.ended.clear()
    stream.close()
    assert peer.ended.wait(10)


def test_deadlines_end_generate_and_its_stream(llama: LanguageModel, peer: Any, wait: Any) -> None:
    peer.answers[GENERATE] = [wait()]
    peer.answers[STREAM] = [[item("a", 0), wait()]]
    with pytest.raises(DeadlineError, match="Generate of /sax/test/llama"):
        llama.generate("x", deadline_seconds=0.3)
    stream = llama.generate_stream("x", deadline_seconds=0.5)
    next(stream)
    with pytest.raises(DeadlineError):
        next(stream)


def test_still_loading_is_borne_with_patience(
    llama: LanguageModel, peer: Any, refusal: Any
) -> None:
    words = "/sax/test/llama is still loading or already unloaded"
    peer.answers[GENERATE] = [refusal(grpc.StatusCode.NOT_FOUND, words)]
    with pytest.raises(SaxError, match="still loading") as caught:
        llama.generate("x", deadline_seconds=60, patience_seconds=0.2)
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.retryable
    assert len(peer.calls(GENERATE)) > 2


def test_a_model_that_is_not_published_is_told_at_once(
    llama: LanguageModel, peer: Any, refusal: Any
) -> None:
    peer.answers[WATCH] = [
        refusal(
            grpc.StatusCode.UNKNOWN,
            "model {test llama} not found: rpc error: code = NotFound desc = NotFound",
        )
    ]
    with pytest.raises(SaxError, match="not found") as caught:
        llama.generate("x", deadline_seconds=60)
    assert (caught.value.code, caught.value.retryable) == ("NOT_FOUND", False)


def test_a_model_published_later_is_found_by_the_same_client(
    llama: LanguageModel, peer: Any, refusal: Any, wait: Any
) -> None:
    unknown = refusal(grpc.StatusCode.NOT_FOUND)
    peer.answers[WATCH] = [unknown]
    with pytest.raises(SaxError):
        llama.generate("x", deadline_seconds=60)
    peer.answers[WATCH] = [addresses(peer.address), wait()]
    peer.answers[GENERATE] = [HELLO]
    assert llama.generate("x", deadline_seconds=60) == HELLO_VALUE


def test_published_but_served_by_nobody(llama: LanguageModel, peer: Any, wait: Any) -> None:
    peer.answers[WATCH] = [wait()]
    with pytest.raises(SaxError, match="no model server serves it") as caught:
        llama.generate("x", deadline_seconds=60, patience_seconds=0.6)
    assert caught.value.code == "UNAVAILABLE"


def test_a_dead_server_gives_way_to_a_living_one(
    llama: LanguageModel, peer: Any, wait: Any, dead_address: str
) -> None:
    peer.answers[WATCH] = [addresses(dead_address, peer.address, seqno=2), wait()]
    peer.answers[GENERATE] = [HELLO]
    started = time.monotonic()
    for _ in range(4):
        assert llama.generate("x", deadline_seconds=30) == HELLO_VALUE
    assert time.monotonic() - started < 20


def test_only_dead_servers_end_with_patience(
    llama: LanguageModel, peer: Any, wait: Any, dead_address: str
) -> None:
    peer.answers[WATCH] = [addresses(dead_address), wait()]
    with pytest.raises(SaxError, match=f"nobody answers at {dead_address}") as caught:
        llama.generate("x", deadline_seconds=60, patience_seconds=0.5)
    assert caught.value.code == "UNAVAILABLE"


def test_addresses_are_followed(
    llama: LanguageModel, peer: Any, wait: Any, start_peer: Any, eventually: Any
) -> None:
    other = start_peer(answers={GENERATE: [HELLO]})
    peer.answers[GENERATE] = [HELLO]
    peer.answers[WATCH] = [
        addresses(peer.address),
        addresses(other.address, gone=(peer.address,), seqno=3),
        wait(),
    ]
    while not other.calls(GENERATE):
        llama.generate("x", deadline_seconds=30)
    eventually(lambda: len(peer.calls(WATCH)) == 3)
    watches = [m.WatchLocRequest.FromString(data) for data in peer.calls(WATCH)]
    assert [(w.admin_server_id, w.seqno) for w in watches] == [("", 0), ("admin", 1), ("admin", 3)]


def test_what_serves_goes_on_without_an_admin_and_under_the_next(
    llama: LanguageModel, peer: Any, wait: Any, start_peer: Any, announce: Any
) -> None:
    server = start_peer(answers={GENERATE: [HELLO]})
    peer.answers[WATCH] = [addresses(server.address), wait()]
    assert llama.generate("x", deadline_seconds=30) == HELLO_VALUE
    peer.stop()
    for _ in range(3):
        assert llama.generate("x", deadline_seconds=30) == HELLO_VALUE
    other = start_peer(answers={GENERATE: [HELLO]})
    successor = start_peer(answers={WATCH: [addresses(other.address, admin="next"), wait()]})
    announce(successor.address)
    while not other.calls(GENERATE):
        assert llama.generate("x", deadline_seconds=30) == HELLO_VALUE
    first = m.WatchLocRequest.FromString(successor.calls(WATCH)[0])
    assert (first.admin_server_id, first.seqno) == ("admin", 1)


def test_a_restarted_server_answers_again(
    llama: LanguageModel, peer: Any, wait: Any, start_peer: Any
) -> None:
    server = start_peer(answers={GENERATE: [HELLO]})
    peer.answers[WATCH] = [addresses(server.address), wait()]
    assert llama.generate("x", deadline_seconds=30) == HELLO_VALUE
    server.stop()
    start_peer(server.address, answers={GENERATE: [HELLO]})
    assert llama.generate("x", deadline_seconds=30) == HELLO_VALUE


def test_the_modelet_speaks_as_the_admin_does(cell: Cell, peer: Any) -> None:
    for name in ("Load", "Unload", "UpdateLoaded"):
        peer.answers[f"/sax.Modelet/{name}"] = [b""]
    status = m.GetStatusResponse()
    status.models.add(model_key=LLAMA, model_status=m.FAILED, failure_reason="no space")
    peer.answers["/sax.Modelet/GetStatus"] = [status.SerializeToString()]
    modelet = cell.modelet(peer.address)
    modelet.load(
        Model(
            LLAMA,
            "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16",
            "gs://b/checkpoint_00000000",
            overrides={"BATCH_SIZE": "4"},
        )
    )
    assert peer.calls("/sax.Modelet/Load") == [bytes.fromhex(RECORDS[5]["hex"])]
    assert modelet.get_status() == (ModelStatus(LLAMA, "FAILED", "no space"),)
    modelet.get_status(include_failure_reasons=False)
    assert peer.calls("/sax.Modelet/GetStatus") == [b"\x08\x01", b""]
    modelet.update_loaded(LLAMA)
    modelet.unload(LLAMA)
    assert m.UnloadRequest.FromString(peer.calls("/sax.Modelet/Unload")[0]).model_key == LLAMA


def test_many_streams_at_once_lose_nothing(peer: Any, wait: Any, announce: Any) -> None:
    peer.answers[WATCH] = [addresses(peer.address), wait()]
    pieces = [f"{i} é日😀\n" for i in range(30)]
    replies: list[bytes] = []
    length = 0
    for piece in pieces:
        replies.append(item(piece, length))
        length += len(piece)
    peer.answers[STREAM] = [replies]

    async def read(cell: AsyncCell) -> str:
        text = ""
        async for samples in cell.model(LLAMA).generate_stream("x", deadline_seconds=60):
            text = samples[0].text
        return text

    async def read_all() -> list[str]:
        async with AsyncCell.open(announce(peer.address), "/sax/test") as cell:
            return await asyncio.gather(*(read(cell) for _ in range(100)))

    assert asyncio.run(read_all()) == ["".join(pieces)] * 100
