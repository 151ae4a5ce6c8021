"""Our client against the bytes of the real admin server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import pytest

from saxflow.errors import DeadlineError, NotFoundError, SaxError
from saxflow.sax import Cell, Model, PublishedModel, ServerStat
from saxflow.sax import messages as m

RECORDS = json.loads(
    (Path(__file__).parents[2] / "data/golden/wire.json").read_text(encoding="utf-8")
)
LLAMA = Model(
    "/sax/test/llama",
    "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16",
    "gs://b/checkpoint_00000000",
    1,
    {"BATCH_SIZE": "4"},
)
SERVER = "10.77.0.1:14041"


@pytest.fixture
def cell(peer: Any, announce: Callable[[str], str]) -> Generator[Cell]:
    with Cell.open(announce(peer.address), "/sax/test") as opened:
        yield opened


@pytest.fixture
def play(peer: Any, refusal: Any) -> Callable[[int], bytes]:
    """Have the peer answer as the real admin did in one record; return the real request."""

    def answer(index: int) -> bytes:
        record = RECORDS[index]
        if "code" in record:
            code = next(code for code in grpc.StatusCode if code.value[0] == record["code"])
            peer.answers[record["method"]] = [refusal(code, record["details"])]
        else:
            peer.answers[record["method"]] = [bytes.fromhex(record["response_hex"])]
        return bytes.fromhex(record["request_hex"])

    return answer


def sent(peer: Any) -> bytes:
    return peer.received[-1][1]


def test_publish(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(0)
    cell.publish(LLAMA)
    assert sent(peer) == expected


def test_publish_of_what_exists(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(1)
    with pytest.raises(SaxError, match="already exists") as caught:
        cell.publish(Model("/sax/test/llama", "saxml.x", "gs://b/x"))
    assert caught.value.code == "ALREADY_EXISTS"
    assert not caught.value.retryable
    assert sent(peer) == expected


def test_join(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(3)
    server = m.ModelServer(
        chip_type=m.ModelServer.CHIP_TYPE_CPU,
        chip_topology=m.ModelServer.CHIP_TOPOLOGY_1,
        servable_model_paths=[LLAMA.model_path],
    )
    cell.join(SERVER, server, debug_address="10.77.0.1:14042")
    assert sent(peer) == expected


def test_watch_loc(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(4)
    reply = cell.watch_loc(m.WatchLocRequest(model_id="/sax/test/llama"), deadline_seconds=5)
    assert sent(peer) == expected
    assert reply.result.changelog[0].addition == SERVER


def test_wait_for_ready(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(6)
    cell.wait_for_ready("/sax/test/llama", deadline_seconds=5)
    assert sent(peer) == expected


@pytest.mark.parametrize(("index", "model_id"), [(7, ""), (8, "/sax/test/llama")])
def test_list(cell: Cell, peer: Any, play: Any, index: int, model_id: str) -> None:
    expected = play(index)
    assert cell.list(model_id) == (PublishedModel(LLAMA, (SERVER,)),)
    assert sent(peer) == expected


def test_list_of_what_is_not_there(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(9)
    with pytest.raises(SaxError) as caught:
        cell.list("/sax/test/no")
    assert caught.value.code == "NOT_FOUND"
    assert caught.value.exit_code == 4
    assert sent(peer) == expected


def test_stats(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(10)
    assert cell.stats() == (ServerStat("CPU", "1", 1),)
    assert sent(peer) == expected


def test_update_of_the_checkpoint(cell: Cell, peer: Any, play: Any) -> None:
    expected = play(11)
    with pytest.raises(SaxError, match="checkpoint path can't be changed") as caught:
        cell.update(Model(LLAMA.model_id, LLAMA.model_path, "gs://b/other"))
    assert caught.value.code == "INVALID_ARGUMENT"
    assert sent(peer) == expected


def test_unpublish(cell: Cell, peer: Any) -> None:
    peer.answers["/sax.Admin/Unpublish"] = [b""]
    cell.unpublish("/sax/test/llama")
    assert sent(peer).hex() == "0a0f2f7361782f746573742f6c6c616d61"


def test_a_busy_admin_is_asked_again_an_internal_error_is_final(
    cell: Cell, peer: Any, refusal: Any
) -> None:
    busy = refusal(grpc.StatusCode.RESOURCE_EXHAUSTED)
    peer.answers["/sax.Admin/Unpublish"] = [busy, busy, b""]
    cell.unpublish("/sax/test/llama")
    assert len(peer.received) == 3
    peer.answers["/sax.Admin/Unpublish"] = [refusal(grpc.StatusCode.INTERNAL), b""]
    with pytest.raises(SaxError) as caught:
        cell.unpublish("/sax/test/llama")
    assert caught.value.code == "INTERNAL"
    assert len(peer.received) == 4


def test_no_answer_ends_with_the_deadline(cell: Cell, peer: Any, wait: Any) -> None:
    peer.answers["/sax.Admin/WaitForReady"] = [wait()]
    with pytest.raises(DeadlineError, match="WaitForReady in /sax/test: no answer within"):
        cell.wait_for_ready("/sax/test/llama", deadline_seconds=0.2)


def test_a_dead_admin_is_told_at_once(dead_address: str, announce: Callable[[str], str]) -> None:
    started = time.monotonic()
    with (
        Cell.open(announce(dead_address), "/sax/test") as cell,
        pytest.raises(SaxError, match=f"nobody answers at {dead_address}") as caught,
    ):
        cell.list(deadline_seconds=60)
    assert caught.value.code == "UNAVAILABLE"
    assert time.monotonic() - started < 5


def test_no_cell_is_told_at_once(announce: Callable[[str], str]) -> None:
    with (
        Cell.open(announce("127.0.0.1:1"), "/sax/other") as cell,
        pytest.raises(NotFoundError, match="/sax/other"),
    ):
        cell.list()


def test_an_admin_that_moved_is_found_through_its_new_location(
    cell: Cell, peer: Any, announce: Callable[[str], str], start_peer: Any
) -> None:
    peer.answers["/sax.Admin/Unpublish"] = [b""]
    cell.unpublish("/sax/test/llama")
    successor = start_peer(answers={"/sax.Admin/Unpublish": [b""]})
    announce(successor.address)
    peer.stop()
    cell.unpublish("/sax/test/llama")
    assert len(successor.received) == 1
