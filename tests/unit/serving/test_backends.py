"""Asking the model behind a name, through a real cell."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from saxflow.errors import CloudError, DeadlineError, NotFoundError, SaxError, TransientError
from saxflow.head import Head
from saxflow.sax.tokenizer import IdsTokenizer
from saxflow.serving import backends as backends_module
from saxflow.serving.backends import Backends, Question

Make = Callable[..., Backends]


def question(name: str = "story", *, stream: bool = False, seconds: float = 20.0) -> Question:
    return Question(name, "1,2", {"temperature": 0.5}, seconds, stream=stream)


async def texts(backends: Backends, asked: Question) -> list[str]:
    async with aclosing(backends.ask(asked)) as answers:
        return [samples[0].text async for samples in answers]


def ask(make: Make, asked: Question, **options: Any) -> list[str]:
    async def run() -> list[str]:
        backends = make(**options)
        try:
            return await texts(backends, asked)
        finally:
            await backends.close()

    return asyncio.run(run())


def test_an_answer_comes_once_or_grows(make_backends: Make, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    assert ask(make_backends, question()) == ["5,6,7"]
    assert ask(make_backends, question(stream=True))[-1] == "5,6,7"
    for request in teller.asked:
        assert (request.model_key, request.text) == ("/sax/test/story", "1,2")
        assert dict(request.extra_inputs.items) == {"temperature": 0.5}


def test_a_model_without_streams_answers_at_once(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    installation.deploy("story", teller.address, stream=False)
    assert ask(make_backends, question(stream=True)) == ["5,6,7"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "name"),
    [
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
    ],
)
def test_what_the_model_server_refuses(
    make_backends: Make, installation: Any, teller: Any, code: grpc.StatusCode, name: str, *, stream: bool
) -> None:  # fmt: skip
    installation.deploy("story", teller.address)
    teller.refusals = [(code, "these words é")] * 20
    with pytest.raises(SaxError, match="these words é") as caught:
        ask(make_backends, question(stream=stream))
    assert caught.value.code == name


def test_no_answer_in_time(make_backends: Make, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)
    teller.gate.clear()
    with pytest.raises((DeadlineError, SaxError)) as caught:
        ask(make_backends, question(seconds=0.2))
    assert getattr(caught.value, "code", "DEADLINE_EXCEEDED") == "DEADLINE_EXCEEDED"
    teller.gate.set()


def test_names_that_lead_nowhere(make_backends: Make, installation: Any) -> None:
    with pytest.raises(NotFoundError, match="there is no deployment 'nobody'"):
        ask(make_backends, question("nobody"))
    installation.head(Head("later", desired="7"))
    with pytest.raises(TransientError, match="later does not serve yet"):
        ask(make_backends, question("later"))


def test_a_cell_that_is_gone_is_unavailable(make_backends: Make, installation: Any) -> None:
    root = installation.deploy("story", "127.0.0.1:1")
    (Path(root) / "sax/test/location.proto").unlink()
    with pytest.raises(SaxError) as caught:
        ask(make_backends, question())
    assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)


def test_a_deployment_that_moved_is_found_once_more(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    async def run() -> list[str]:
        backends = make_backends(believe_seconds=3600)
        installation.deploy("story", "127.0.0.1:1")
        await backends.find("story")
        installation.deploy("story", teller.address)
        try:
            return await texts(backends, question())
        finally:
            await backends.close()

    assert asyncio.run(run()) == ["5,6,7"]


def test_a_deployment_that_was_deleted_meanwhile(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    async def run() -> None:
        backends = make_backends(believe_seconds=3600)
        installation.deploy("story", teller.address)
        await texts(backends, question())
        installation.head(Head("story", tombstone="7"))
        teller.refusals = [(grpc.StatusCode.UNAVAILABLE, "gone")] * 20
        try:
            await texts(backends, question())
        finally:
            await backends.close()

    with pytest.raises(NotFoundError, match="deployment story was deleted"):
        asyncio.run(run())


def test_leaving_early_ends_the_stream(make_backends: Make, installation: Any, teller: Any) -> None:
    installation.deploy("story", teller.address)

    async def run() -> str:
        backends = make_backends()
        answers = backends.ask(question(stream=True))
        async with aclosing(answers):
            first = (await anext(answers))[0].text
            teller.gate.clear()
        teller.gate.set()
        await asyncio.to_thread(teller.left.wait, 10)
        await backends.close()
        return first

    assert asyncio.run(run()).startswith("5,")
    assert teller.left.is_set()


def test_cells_that_nobody_names_any_more_are_closed(
    make_backends: Make, installation: Any, teller: Any
) -> None:
    async def run() -> tuple[set[str], list[str]]:
        backends = make_backends(believe_seconds=0)
        roots = []
        for _ in range(2):
            roots.append(installation.deploy("story", teller.address))
            await texts(backends, question())
        open_roots = {root for root, _ in backends._cells}
        await backends.close()
        assert backends._cells == {}
        return open_roots, roots

    open_roots, roots = asyncio.run(run())
    assert open_roots <= set(roots)
    assert roots[1] in open_roots


# The control bucket


def test_without_the_control_bucket_what_was_known_goes_on(
    make_backends: Make, installation: Any, teller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> list[str]:
        backends = make_backends(believe_seconds=0)
        installation.deploy("story", teller.address)
        await backends.find("story")
        installation.faults.arm("storage", "*", "return-403", count=None)
        with pytest.raises(CloudError):
            await backends.find("other")
        with pytest.raises(CloudError):
            await backends.all()
        try:
            return await texts(backends, question())
        finally:
            await backends.close()

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(run()) == ["5,6,7"]
    assert "going on with what was known of story" in caplog.text


def test_a_silent_control_bucket(
    make_backends: Make, installation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends_module, "LOOK_SECONDS", 0.05)
    answer = threading.Event()
    real = installation.wiring
    monkeypatch.setattr(installation, "wiring", lambda: answer.wait(20) and real())

    async def run() -> str:
        backends = make_backends()
        try:
            with pytest.raises(CloudError) as caught:
                await backends.find("story")
            assert caught.value.retryable
            return str(caught.value)
        finally:
            answer.set()

    assert asyncio.run(run()) == "Cloud Storage does not answer within 0.05 s"


def test_many_who_ask_at_once_look_once(make_backends: Make, installation: Any) -> None:
    installation.deploy("story", "127.0.0.1:1")

    async def run() -> int:
        backends = make_backends(believe_seconds=60)
        before = installation.looks
        found = await asyncio.gather(*(backends.find("story") for _ in range(20)))
        assert len({target.sax_root for target in found}) == 1
        return installation.looks - before

    many = asyncio.run(run())
    installation.begin()
    installation.deploy("story", "127.0.0.1:1")
    asyncio.run(make_backends(believe_seconds=60).find("story"))
    assert many == installation.looks


# Vocabularies


def vocabulary(make: Make, times: int = 1) -> list[Any]:
    async def run() -> list[Any]:
        backends = make()
        target = await backends.find("story")
        return [await backends.tokenizer(target) for _ in range(times)]

    return asyncio.run(run())


def test_a_vocabulary_is_read_once(make_backends: Make, installation: Any) -> None:
    installation.deploy("story", "127.0.0.1:1")
    one, other = vocabulary(make_backends, 2)
    assert isinstance(one, IdsTokenizer)
    assert one is other


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_vocabulary_that_cannot_be_read(
    make_backends: Make, installation: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    content: bytes | None,
) -> None:  # fmt: skip
    file = tmp_path / "tokenizer.model"
    if content is not None:
        file.write_bytes(content)
    installation.deploy("story", "127.0.0.1:1", tokenizer=f"file://{file}")
    with caplog.at_level(logging.WARNING):
        assert vocabulary(make_backends, 2) == [None, None]
    assert caplog.text.count("tokens of story cannot be counted") == 1


@pytest.mark.parametrize("pause", [0.0, 3600.0])
def test_a_vocabulary_whose_bucket_fails_for_a_while(
    make_backends: Make, installation: Any, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, pause: float,
) -> None:  # fmt: skip
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", installation.server.url)
    monkeypatch.setattr(backends_module, "UNREAD_SECONDS", pause)
    golden = Path(__file__).parents[2] / "data/golden/tiny320.model"
    installation.put("tokenizer.model", golden.read_bytes())
    installation.deploy("story", "127.0.0.1:1", tokenizer="gs://control/tokenizer.model")

    async def run() -> list[Any]:
        backends = make_backends()
        target = await backends.find("story")
        monkeypatch.setattr(backends_module, "LOOK_SECONDS", 0.1)
        installation.faults.arm("storage", "objects.get", "return-503", count=None)
        first = await backends.tokenizer(target)
        installation.faults.clear()
        monkeypatch.setattr(backends_module, "LOOK_SECONDS", 20.0)
        return [first, await backends.tokenizer(target)]

    with caplog.at_level(logging.WARNING):
        nothing, later = asyncio.run(run())
    assert nothing is None
    assert (
        caplog.text.count("tokens of story cannot be counted: Cloud Storage does not answer") == 1
    )
    if pause:
        assert later is None, "not asked for again at once"
    else:
        assert later.encode("Hello")
