"""Where the client looks for the admin, how long, and what it asks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from saxflow.errors import DeadlineError, NotFoundError, ProtocolError, SaxError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.aio import AsyncCell
from saxflow.sax.values import ServerStat

from .servers import LLAMA, MODEL, NOT_FOUND, Server, run


def test_a_cell_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"there is no cell /sax/test below {tmp_path}"):
        run(str(tmp_path), lambda cell: cell.list())


def test_a_cell_without_an_admin(tmp_path: Path) -> None:
    (tmp_path / "sax/test").mkdir(parents=True)
    with pytest.raises(NotFoundError, match="no admin server has announced itself yet"):
        run(str(tmp_path), lambda cell: cell.list())


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xff", "is not a sax.Location message"), (b"", "holds no address")],
)
def test_a_location_that_is_damaged(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "sax/test").mkdir(parents=True)
    (tmp_path / "sax/test/location.proto").write_bytes(content)
    with pytest.raises(ProtocolError, match=said):
        run(str(tmp_path), lambda cell: cell.list())


def test_an_admin_that_has_gone_is_named_with_its_file(announce: Any, dead_address: str) -> None:
    root = announce(dead_address)
    with pytest.raises(SaxError) as caught:
        run(root, lambda cell: cell.list())
    assert str(caught.value) == (
        f"List in /sax/test: nobody answers at {dead_address},"
        f" the address in {root}/sax/test/location.proto"
    )
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", False)


def test_an_admin_that_moved_is_found_again(root: str, announce: Any, server: Server) -> None:
    server.answers[methods.LIST] = [m.ListResponse()]

    async def use(cell: AsyncCell) -> None:
        assert await cell.list() == ()
        server.stop()
        other = Server()
        other.start()
        other.answers[methods.LIST] = [listed("/sax/test/b")]
        announce(other.address)
        try:
            assert [one.model.model_id for one in await cell.list()] == ["/sax/test/b"]
        finally:
            other.stop()

    run(root, use)


def test_the_location_is_read_only_while_nobody_answers(root: str, server: Server) -> None:
    server.answers[methods.LIST] = [m.ListResponse()]

    async def use(cell: AsyncCell) -> None:
        await cell.list()
        (Path(root) / "sax/test/location.proto").unlink()
        await asyncio.gather(*(cell.list() for _ in range(8)))

    run(root, use)
    assert len(server.asked(methods.LIST)) == 9


def test_the_deadline_holds_while_the_root_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "sax/test").mkdir(parents=True)
    silent = tmp_path / "sax/test/location.proto"
    os.mkfifo(silent)

    async def use(cell: AsyncCell) -> None:
        try:
            with pytest.raises(DeadlineError) as caught:
                await cell.list(deadline_seconds=0.1)
            assert str(caught.value) == "List in /sax/test: no answer within 0.1 s"
        finally:
            os.close(os.open(silent, os.O_RDWR))

    run(str(tmp_path), use)


def test_a_busy_admin_is_asked_until_the_deadline(root: str, server: Server) -> None:
    server.answers[methods.LIST] = [("RESOURCE_EXHAUSTED", "busy")]
    with pytest.raises(DeadlineError) as caught:
        run(root, lambda cell: cell.list(deadline_seconds=0.3))
    assert str(caught.value) == (
        f"List in /sax/test: no answer within 0.3 s; last: List at {server.address}: busy"
    )
    assert len(server.asked(methods.LIST)) > 2


def test_a_refusal_is_final(root: str, server: Server) -> None:
    server.answers[methods.UNPUBLISH] = [("UNKNOWN", NOT_FOUND)]
    with pytest.raises(SaxError, match="not found") as caught:
        run(root, lambda cell: cell.unpublish(LLAMA))
    assert (caught.value.code, caught.value.exit_code) == ("NOT_FOUND", 4)
    assert len(server.asked(methods.UNPUBLISH)) == 1


def listed(*names: str) -> m.ListResponse:
    return m.ListResponse(
        published_models=[m.PublishedModel(model=m.Model(model_id=name)) for name in names]
    )


def test_models_are_listed_in_the_order_of_their_names(root: str, server: Server) -> None:
    server.answers[methods.LIST] = [listed("/sax/test/b", "/sax/test/c", "/sax/test/a")]
    found = run(root, lambda cell: cell.list())
    assert [one.model.model_id[-1] for one in found] == ["a", "b", "c"]
    assert server.asked(methods.LIST)[0].model_id == ""


def test_what_the_admin_is_asked(root: str, server: Server) -> None:
    for method in (methods.PUBLISH, methods.UPDATE, methods.WAIT_FOR_READY, methods.JOIN):
        server.answers[method] = [method.reply()]
    stat = m.ModelServerTypeStat(chip_type=15, chip_topology=99, num_replicas=2)
    server.answers[methods.STATS] = [m.StatsResponse(model_server_type_stats=[stat])]
    kind = m.ModelServer(servable_model_paths=["a.Llama"])

    async def use(cell: AsyncCell) -> None:
        await cell.publish(MODEL)
        await cell.update(MODEL)
        await cell.wait_for_ready(LLAMA, 3, deadline_seconds=5)
        await cell.join("h:1", kind, debug_address="h:2")
        assert await cell.stats(LLAMA) == (ServerStat("TPU_V5E", "99", 2),)

    run(root, use)
    assert server.asked(methods.PUBLISH)[0].model == MODEL.message()
    assert server.asked(methods.UPDATE)[0].model == MODEL.message()
    ready = m.WaitForReadyRequest(model_id=LLAMA, num_replicas=3)
    assert server.asked(methods.WAIT_FOR_READY) == [ready]
    joined = m.JoinRequest(address="h:1", debug_address="h:2", model_server=kind)
    assert server.asked(methods.JOIN) == [joined]
    assert server.asked(methods.STATS)[0].model_id == LLAMA
