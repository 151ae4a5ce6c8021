"""The model server under the bytes that real saxutil and a real admin sent."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from saxflow.cell.modelet import Modelet
from saxflow.cell.refusals import refusal
from saxflow.errors import InputError
from saxflow.sax import messages as m
from saxflow.sax import methods

from ...listening import call, listening

KEY = "/sax/test/llama"


class Echo:
    """A loaded model that answers with the prompt."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def generate(self, request: m.GenerateRequest) -> m.GenerateResponse:
        if "nope" in request.extra_inputs.items:
            raise refusal("key `nope`", "INVALID_ARGUMENT")
        return m.GenerateResponse(texts=[m.DecodedText(text=request.text, score=-1.5)])

    async def generate_stream(
        self, request: m.GenerateRequest
    ) -> AsyncGenerator[m.GenerateStreamResponse]:
        try:
            for length, letter in enumerate(request.text):
                item = m.GenerateStreamItem(text=letter, prefix_len=length, scores=[-1.0])
                yield m.GenerateStreamResponse(items=[item])
            if request.text == "endless":
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def score(self, request: m.ScoreRequest) -> m.ScoreResponse:
        return m.ScoreResponse(logp=[-2.0])


class Loader:
    """Loads `Echo`, or fails, when `gate` opens."""

    streams = True

    def __init__(self) -> None:
        self.model = Echo()
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def load(self, request: m.LoadRequest) -> Echo:
        self.gate.wait(20)
        if self.failure is not None:
            raise self.failure
        return self.model

    def unload(self) -> None:
        self.gate.wait(20)


@asynccontextmanager
async def serving(loader: Loader) -> Any:
    async with (
        listening(Modelet(loader).behaviors()) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel


async def refused(channel: Any, method: methods.Method[Any, Any], request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, method, request)
    return caught.value.code().name, caught.value.details() or ""


async def statuses(channel: Any) -> list[tuple[str, int, str]]:
    request = m.GetStatusRequest(include_failure_reasons=True)
    reply = await call(channel, methods.GET_STATUS, request)
    return [(s.model_key, s.model_status, s.failure_reason) for s in reply.models]


def load(key: str = KEY) -> m.LoadRequest:
    return m.LoadRequest(model_key=key, model_path="a.B", checkpoint_path="x")


def test_recorded_requests_are_served(golden: Path) -> None:
    wire = json.loads((golden / "wire.json").read_text())
    requests = [entry for entry in wire if entry["dir"] == "request"]

    async def run() -> None:
        async with serving(Loader()) as channel:
            (loading,) = [e for e in requests if e["method"].endswith("/Load")]
            await call(channel, methods.LOAD, bytes.fromhex(loading["hex"]))
            for entry in requests:
                data = bytes.fromhex(entry["hex"])
                if entry["method"].endswith("/Generate"):
                    reply = await call(channel, methods.GENERATE, data)
                    assert reply.texts[0].text == m.GenerateRequest.FromString(data).text
                if entry["method"].endswith("/GetStatus"):
                    reply = await call(channel, methods.GET_STATUS, data)
                    assert [s.model_key for s in reply.models] == [KEY]

    asyncio.run(run())


def test_a_load_runs_in_the_background_and_is_seen() -> None:
    async def run() -> None:
        loader = Loader()
        loader.gate.clear()
        async with serving(loader) as channel:
            task = asyncio.create_task(call(channel, methods.LOAD, load()))
            while not (seen := await statuses(channel)):
                await asyncio.sleep(0)
            assert seen == [(KEY, m.LOADING, "")]
            code, text = await refused(channel, methods.GENERATE, m.GenerateRequest(model_key=KEY))
            assert (code, text) == ("NOT_FOUND", f"{KEY} is still loading or already unloaded")
            loader.gate.set()
            await task
            assert await statuses(channel) == [(KEY, m.LOADED, "")]
            await call(channel, methods.UNLOAD, m.UnloadRequest(model_key=KEY))
            assert await statuses(channel) == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (InputError("no such checkpoint"), "INVALID_ARGUMENT", "no such checkpoint"),
        (RuntimeError("out of memory"), "INTERNAL", "RuntimeError: out of memory"),
    ],
)
def test_a_failed_load_keeps_its_reason_and_may_be_tried_again(
    failure: Exception, code: str, reason: str
) -> None:
    async def run() -> None:
        loader = Loader()
        loader.failure = failure
        async with serving(loader) as channel:
            assert (await refused(channel, methods.LOAD, load()))[0] == code
            assert await statuses(channel) == [(KEY, m.FAILED, reason)]
            plain = await call(channel, methods.GET_STATUS, m.GetStatusRequest())
            assert plain.models[0].failure_reason == ""
            loader.failure = None
            await call(channel, methods.LOAD, load())
            assert await statuses(channel) == [(KEY, m.LOADED, "")]

    asyncio.run(run())


def test_refusals_have_saxs_codes_and_words() -> None:
    async def run() -> None:
        async with serving(Loader()) as channel:
            await call(channel, methods.LOAD, load())
            await call(channel, methods.LOAD, load())
            for method, request, code, text in (
                (methods.LOAD, load("/sax/test/other"), "INVALID_ARGUMENT", "holds one model"),
                (methods.LOAD, load(""), "INVALID_ARGUMENT", "model_key is not specified."),
                (methods.UNLOAD, m.UnloadRequest(), "INVALID_ARGUMENT", "not specified"),
                (
                    methods.UNLOAD,
                    m.UnloadRequest(model_key="/sax/test/no"),
                    "INVALID_ARGUMENT",
                    "/sax/test/no not found, cannot unload.",
                ),
                (methods.UPDATE_LOADED, m.UpdateLoadedRequest(), "INVALID_ARGUMENT", "specified"),
                (methods.EXPORT, m.ExportRequest(model_key=KEY), "UNIMPLEMENTED", "Export"),
                (methods.SAVE, m.SaveRequest(model_key=KEY), "UNIMPLEMENTED", "Save"),
                (
                    methods.EMBED,
                    m.EmbedRequest(model_key=KEY),
                    "INVALID_ARGUMENT",
                    f"{KEY} does not support lm.embed",
                ),
                (
                    methods.GRADIENT,
                    m.GradientRequest(model_key="/sax/test/no"),
                    "NOT_FOUND",
                    "still loading or already unloaded",
                ),
                (
                    methods.GENERATE,
                    m.GenerateRequest(model_key=KEY, extra_inputs=m.ExtraInputs(items={"nope": 1})),
                    "INVALID_ARGUMENT",
                    "nope",
                ),
            ):
                found = await refused(channel, method, request)
                assert found[0] == code
                assert text in found[1]
            await call(channel, methods.UPDATE_LOADED, m.UpdateLoadedRequest(model_key=KEY))
            assert (await call(channel, methods.SCORE, m.ScoreRequest(model_key=KEY))).logp[0] == -2

    asyncio.run(run())


async def stream(channel: Any, text: str) -> Any:
    rpc = channel.unary_stream(
        methods.GENERATE_STREAM.path,
        request_serializer=m.GenerateRequest.SerializeToString,
        response_deserializer=m.GenerateStreamResponse.FromString,
    )
    return rpc(m.GenerateRequest(model_key=KEY, text=text), timeout=20)


def test_streams_flow_and_end_with_their_client() -> None:
    async def run() -> None:
        loader = Loader()
        async with serving(loader) as channel:
            await call(channel, methods.LOAD, load())
            texts = [reply.items[0].text async for reply in await stream(channel, "añ€")]
            assert "".join(texts) == "añ€"
            loader.model.closed.clear()
            left = await stream(channel, "endless")
            await left.read()
            left.cancel()
            await asyncio.wait_for(loader.model.closed.wait(), 20)

    asyncio.run(run())


def test_a_servable_without_streams_says_so() -> None:
    async def run() -> None:
        loader = Loader()
        loader.streams = False
        async with serving(loader) as channel:
            await call(channel, methods.LOAD, load())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (await stream(channel, "a")).read()
            assert caught.value.details() == f"{KEY} does not support lm.generate_stream"

    asyncio.run(run())
