"""The client's own decisions: what it refuses unsent, where it looks, how long it waits."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from saxflow.errors import DeadlineError, InputError, NotFoundError, ProtocolError, SaxError
from saxflow.sax import messages as m
from saxflow.sax import methods
from saxflow.sax.aio import AsyncCell
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.names import ModelName
from saxflow.sax.values import Generated, Model, ModelStatus, ServerStat

LLAMA = "/sax/test/llama"
MODEL = Model(LLAMA, "a.Llama", "gs://b/checkpoint_00000000")
NOT_FOUND = "model {test llama} not found: rpc error: code = NotFound desc = NotFound"


@dataclass
class Server:
    """A gRPC server of SAX's methods.

    Args:
        answers: method -> replies or (code, words), call by call; the last one is repeated.
        received: (method, request) in order of arrival.
    """

    answers: dict[Any, list[Any]] = field(default_factory=dict)
    received: list[tuple[Any, Any]] = field(default_factory=list)
    address: str = ""
    stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        server = grpc.server(futures.ThreadPoolExecutor(16))
        behaviors = {method: self._behavior(method) for method in methods.ALL}
        server.add_generic_rpc_handlers(generic_handlers(behaviors))
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        self.stop = lambda: server.stop(0).wait() and None

    def asked(self, method: Any) -> list[Any]:
        return [request for received, request in self.received if received is method]

    def _behavior(self, method: Any) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: Any) -> Any:
            self.received.append((method, request))
            told = self.answers.get(method, [("UNIMPLEMENTED", "not told")])
            reply = told.pop(0) if len(told) > 1 else told[0]
            if isinstance(reply, tuple):
                context.abort(grpc.StatusCode[reply[0]], reply[1])
            if reply is None:
                gone = threading.Event()
                if context.add_callback(gone.set):
                    gone.wait()
                reply = method.reply()
            return reply

        def stream(request: Any, context: Any) -> Any:
            yield from answer(request, context)

        return stream if method.streams else answer


@pytest.fixture
def server() -> Generator[Server]:
    """An admin and model server in one."""
    started = Server()
    started.start()
    started.answers[methods.WATCH_LOC] = [watched(started.address), None]
    yield started
    started.stop()


def watched(*addresses: str) -> m.WatchLocResponse:
    changes = [m.WatchResult.Mutation(addition=address) for address in addresses]
    return m.WatchLocResponse(
        admin_server_id="a", result=m.WatchResult(next_seqno=1, changelog=changes)
    )


@pytest.fixture
def root(announce: Callable[[str], str], server: Server) -> str:
    return announce(server.address)


def run(root: str, use: Callable[[AsyncCell], Awaitable[Any]]) -> Any:
    async def scenario() -> Any:
        async with AsyncCell.open(root, "/sax/test") as cell:
            return await use(cell)

    return asyncio.run(scenario())


async def collected(stream: Any) -> list[Any]:
    return [samples async for samples in stream]


def test_opening_looks_at_nothing(tmp_path: Path) -> None:
    cell = AsyncCell.open(str(tmp_path / "missing"), "/sax/test")
    assert str(cell.name) == "/sax/test"
    assert str(cell.model(LLAMA).name) == LLAMA
    assert cell.modelet("h:1").address == "h:1"


@pytest.mark.parametrize(
    ("root", "cell", "said"),
    [
        ("", "/sax/test", "sax-root '' is neither gs://bucket/prefix nor a directory"),
        ("s3://b/p", "/sax/test", "sax-root 's3://b/p' is neither"),
        ("gs://", "/sax/test", "'gs://' is not a Cloud Storage URI; write gs://bucket/name"),
        ("/root", "test", "'test' is no SAX cell; write /sax/<cell>"),
        ("/root", "/sax/test/llama", "'/sax/test/llama' is no SAX cell"),
        ("/root", "/sax/Ünï", "'/sax/Ünï' is no SAX cell"),
        ("/root", "", "'' is no SAX cell"),
    ],
)
def test_malformed_places_are_refused(root: str, cell: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        AsyncCell.open(root, cell)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda c: c.list("llama"), "'llama' is no SAX model ID; write /sax/<cell>/<model>"),
        (lambda c: c.stats("/sax/test/"), "'/sax/test/' is no SAX model ID"),
        (lambda c: c.unpublish(""), "'' is no SAX model ID"),
        (lambda c: c.wait_for_ready("x", deadline_seconds=1), "'x' is no SAX model ID"),
        (
            lambda c: c.wait_for_ready(LLAMA, 2**31, deadline_seconds=1),
            "replicas is 2147483648; a number from 0 to 2147483647 is needed",
        ),
        (lambda c: c.join("host", m.ModelServer()), "'host' is no address; write host:port"),
        (
            lambda c: c.publish(Model(LLAMA, "a.Llama", "/x", 10**12)),
            "replicas is 1000000000000; a number from 0 to 2147483647 is needed",
        ),
        (lambda c: c.update(Model(LLAMA, "a.Llama", "/x", -1)), "replicas is -1; a number from 0"),
        (lambda c: c.publish(Model(LLAMA, "a B", "/x")), "'a B' is no SAX model path"),
        (lambda c: c.publish(Model(LLAMA, "a.B", "/é")), "checkpoint path '/é' is not legal"),
        (
            lambda c: c.publish(Model(LLAMA, "a.B", "/x", 1, {"K": "[" * 100_000})),
            "override K is '",
        ),
        (
            lambda c: c.publish(Model(LLAMA, "a.B", "/x", 1, {"K": '"\udcff"'})),
            "override K cannot be sent: character 2 is half of a surrogate pair",
        ),
        (
            lambda c: c.model(LLAMA).generate("ab\udcff"),
            "prompt cannot be sent: character 3 is half of a surrogate pair; give UTF-8 text",
        ),
        (lambda c: collected(c.model(LLAMA).generate_stream("\ud800")), "prompt cannot be sent"),
        (lambda c: c.model(LLAMA).score("\ud800", ["a"]), "prefix cannot be sent"),
        (lambda c: c.model(LLAMA).score("a", ["b", "\ud800"]), "suffix cannot be sent"),
        (
            lambda c: c.model(LLAMA).generate("x", {"temperature": float("nan")}),
            "extra input temperature is nan; SAX carries finite 32-bit numbers",
        ),
        (
            lambda c: c.model(LLAMA).generate("x", {"seed": 10**400}),
            "extra input seed is 1000",
        ),
        (
            lambda c: c.model(LLAMA).score("x", ["y"], {"seed": 1e39}),
            r"extra input seed is 1e\+39",
        ),
        (
            lambda c: c.model(LLAMA).generate("x", {"bias": [0.0, float("-inf")]}),
            "extra input bias is -inf",
        ),
        (
            lambda c: c.model(LLAMA).generate("x", {"\udcff": 1}),
            "the name of an extra input cannot be sent",
        ),
        (lambda c: c.model(LLAMA).generate("x", {"a": "\udcff"}), "extra input a cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anybody_is_asked(
    tmp_path: Path, use: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        run(str(tmp_path / "missing"), use)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "model_id", ["", "llama", "/sax/test", "/sax/test/a/b", "/sax/te st/a", "/sax/test/é"]
)
def test_malformed_models(model_id: str) -> None:
    with pytest.raises(InputError, match="is no SAX model ID"):
        AsyncCell.open("/root", "/sax/test").model(model_id)


@pytest.mark.parametrize("address", ["", "host", ":1", "host:", "host:123456", "host:x"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(InputError, match="is no address; write host:port"):
        AsyncCell.open("/root", "/sax/test").modelet(address)


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


def test_addresses_are_shared_until_the_model_is_gone(root: str, server: Server) -> None:
    server.answers[methods.WATCH_LOC] = [("UNKNOWN", NOT_FOUND)]

    async def use(cell: AsyncCell) -> None:
        name = ModelName.parse(LLAMA)
        first = cell.addresses(name)
        assert cell.addresses(name) is first
        with pytest.raises(SaxError, match="not found") as caught:
            await cell.model(LLAMA).generate("x", deadline_seconds=5)
        assert caught.value.code == "NOT_FOUND"
        assert cell.addresses(name) is not first

    run(root, use)


def test_samples_are_returned_in_the_servers_order(root: str, server: Server) -> None:
    texts = [m.DecodedText(text="b", score=-2.0), m.DecodedText(text="été 😀", score=-1.0)]
    server.answers[methods.GENERATE] = [m.GenerateResponse(texts=texts)]
    options = {"temperature": 0.5, "stop": "x", "bias": [1, 2.5], "k": 2**24}
    found = run(root, lambda cell: cell.model(LLAMA).generate("Hi é\0\n", options))
    assert found == (Generated("b", -2.0), Generated("été 😀", -1.0))
    (request,) = server.asked(methods.GENERATE)
    assert (request.model_key, request.text) == (LLAMA, "Hi é\0\n")
    assert dict(request.extra_inputs.items) == {"temperature": 0.5, "k": 2.0**24}
    assert dict(request.extra_inputs.strings) == {"stop": "x"}
    assert list(request.extra_inputs.tensors["bias"].values) == [1.0, 2.5]


@pytest.mark.parametrize("options", [None, {}])
def test_extra_inputs_are_there_even_when_there_are_none(
    root: str, server: Server, options: Any
) -> None:
    server.answers[methods.GENERATE] = [m.GenerateResponse()]
    assert run(root, lambda cell: cell.model(LLAMA).generate("", options)) == ()
    assert server.asked(methods.GENERATE)[0].HasField("extra_inputs")


def test_scores_of_every_suffix(root: str, server: Server) -> None:
    server.answers[methods.SCORE] = [m.ScoreResponse(logp=[-1.5, -2.5])]
    assert run(root, lambda cell: cell.model(LLAMA).score("a", ["b", ""])) == (-1.5, -2.5)
    assert list(server.asked(methods.SCORE)[0].suffix) == ["b", ""]


def grown(*pieces: tuple[str, int]) -> list[m.GenerateStreamResponse]:
    items = [
        m.GenerateStreamItem(text=text, prefix_len=kept, scores=[-1.0]) for text, kept in pieces
    ]
    return [m.GenerateStreamResponse(items=[item]) for item in items]


def test_a_stream_grows(root: str, server: Server) -> None:
    server.answers[methods.GENERATE_STREAM] = [grown(("日本", 0), ("語", 2), ("!", 1))]
    found = run(root, lambda cell: collected(cell.model(LLAMA).generate_stream("x")))
    assert [samples[0].text for samples in found] == ["日本", "日本語", "日!"]


@pytest.mark.parametrize("kept", [3, -1])
def test_a_stream_that_keeps_what_was_not_there(root: str, server: Server, kept: int) -> None:
    server.answers[methods.GENERATE_STREAM] = [grown(("ab", 0), ("c", kept))]
    with pytest.raises(ProtocolError, match=f"GenerateStream keeps {kept} of 2 characters"):
        run(root, lambda cell: collected(cell.model(LLAMA).generate_stream("x")))


def test_patience_ends_before_the_deadline(root: str, server: Server) -> None:
    server.answers[methods.GENERATE] = [("UNAVAILABLE", "loading")]
    with pytest.raises(SaxError, match="loading") as caught:
        run(
            root,
            lambda cell: cell.model(LLAMA).generate(
                "x", deadline_seconds=60, patience_seconds=0.05
            ),
        )
    assert caught.value.code == "UNAVAILABLE"


def test_a_stream_is_begun_again_only_before_its_first_reply(root: str, server: Server) -> None:
    again = [("UNAVAILABLE", "loading"), grown(("a", 0))]
    server.answers[methods.GENERATE_STREAM] = again
    found = run(root, lambda cell: collected(cell.model(LLAMA).generate_stream("x")))
    assert [samples[0].text for samples in found] == ["a"]
    assert len(server.asked(methods.GENERATE_STREAM)) == 2


def test_a_model_server_that_has_gone(root: str, server: Server, dead_address: str) -> None:
    server.answers[methods.WATCH_LOC] = [watched(dead_address), None]
    with pytest.raises(SaxError) as caught:
        run(root, lambda cell: cell.model(LLAMA).generate("x", patience_seconds=0.0))
    assert str(caught.value) == f"Generate of {LLAMA}: nobody answers at {dead_address}"
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)


def test_another_server_takes_over(root: str, server: Server, dead_address: str) -> None:
    server.answers[methods.WATCH_LOC] = [watched(dead_address, server.address), None]
    server.answers[methods.GENERATE] = [m.GenerateResponse(texts=[m.DecodedText(text="a")])]

    async def use(cell: AsyncCell) -> None:
        for _ in range(4):
            assert (await cell.model(LLAMA).generate("x", deadline_seconds=10))[0].text == "a"

    run(root, use)


def test_questions_at_once_follow_the_addresses_once(root: str, server: Server) -> None:
    server.answers[methods.GENERATE] = [m.GenerateResponse()]

    async def use(cell: AsyncCell) -> None:
        await asyncio.gather(*(cell.model(LLAMA).generate(str(n)) for n in range(12)))

    run(root, use)
    assert sorted(int(one.text) for one in server.asked(methods.GENERATE)) == list(range(12))
    assert len(server.asked(methods.WATCH_LOC)) <= 2


def test_what_a_model_server_is_told(server: Server) -> None:
    for method in (methods.LOAD, methods.UPDATE_LOADED, methods.UNLOAD):
        server.answers[method] = [method.reply()]
    status = m.GetStatusResponse.ModelWithStatus(
        model_key=LLAMA, model_status=m.FAILED, failure_reason="no memory"
    )
    server.answers[methods.GET_STATUS] = [m.GetStatusResponse(models=[status])]

    async def use(cell: AsyncCell) -> None:
        modelet = cell.modelet(server.address)
        await modelet.load(Model(LLAMA, "a.Llama", "/x", 1, {"A": "1"}))
        await modelet.update_loaded(LLAMA)
        await modelet.unload(LLAMA)
        assert await modelet.get_status() == (ModelStatus(LLAMA, "FAILED", "no memory"),)

    run("/unused", use)
    (load,) = server.asked(methods.LOAD)
    assert (load.model_key, load.model_path, load.checkpoint_path) == (LLAMA, "a.Llama", "/x")
    assert load.HasField("acls")
    assert dict(load.overrides) == {"A": "1"}
    assert server.asked(methods.UPDATE_LOADED)[0].HasField("acls")
    assert server.asked(methods.UNLOAD)[0].model_key == LLAMA
    assert server.asked(methods.GET_STATUS)[0].include_failure_reasons


def test_a_model_server_is_asked_once(server: Server) -> None:
    server.answers[methods.LOAD] = [("UNAVAILABLE", "busy")]
    with pytest.raises(SaxError, match=f"Load at {server.address}: busy") as caught:
        run("/unused", lambda cell: cell.modelet(server.address).load(MODEL))
    assert not caught.value.retryable
    assert len(server.asked(methods.LOAD)) == 1


def test_a_model_server_that_is_not_there(dead_address: str) -> None:
    with pytest.raises(SaxError) as caught:
        run("/unused", lambda cell: cell.modelet(dead_address).unload(LLAMA))
    assert str(caught.value) == f"Unload: nobody answers at {dead_address}"
    assert caught.value.retryable


def test_closing_ends_following(root: str, server: Server) -> None:
    server.answers[methods.GENERATE] = [m.GenerateResponse()]

    async def use(cell: AsyncCell) -> None:
        await cell.model(LLAMA).generate("x")
        await cell.close()
        await cell.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(root, use)
