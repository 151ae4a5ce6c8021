"""Following a model's servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from saxflow.errors import DeadlineError, NotFoundError, SaxError, SaxflowError
from saxflow.sax import addresses as addresses_module
from saxflow.sax import messages as m
from saxflow.sax.addresses import Addresses
from saxflow.sax.pace import Pace


class Script:
    """An admin that says what it was told, then nothing any more."""

    def __init__(self, *words: m.WatchLocResponse | SaxflowError) -> None:
        self._words = list(words)
        self.asked: list[m.WatchLocRequest] = []

    async def watch_loc(
        self, request: m.WatchLocRequest, *, deadline_seconds: float
    ) -> m.WatchLocResponse:
        self.asked.append(request)
        if not self._words:
            await asyncio.Event().wait()
        word = self._words.pop(0)
        if isinstance(word, SaxflowError):
            raise word
        return word


def says(seqno: int, *added: str) -> m.WatchLocResponse:
    changes = [m.WatchResult.Mutation(addition=address) for address in added]
    return m.WatchLocResponse(
        admin_server_id="a", result=m.WatchResult(next_seqno=seqno, changelog=changes)
    )


def follow(script: Script, use: Callable[[Addresses], Awaitable[None]]) -> None:
    async def scenario() -> None:
        addresses = Addresses(script, "/sax/test/m")
        try:
            await use(addresses)
        finally:
            await addresses.close()

    asyncio.run(scenario())


def pace(seconds: float | None = 10) -> Pace:
    return Pace("Generate", deadline_seconds=seconds)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses_module, "QUIET_SECONDS", 0.01)


def test_addresses_are_handed_out_in_turn() -> None:
    async def use(addresses: Addresses) -> None:
        picked = [await addresses.pick(pace()) for _ in range(4)]
        assert sorted(picked[:2]) == ["h:1", "h:2"]
        assert picked[2:] == picked[:2]

    follow(Script(says(2, "h:1", "h:2")), use)


def test_silence_means_that_nobody_serves() -> None:
    async def use(addresses: Addresses) -> None:
        with pytest.raises(SaxError) as caught:
            await addresses.pick(pace())
        assert (caught.value.code, caught.value.retryable) == ("UNAVAILABLE", True)

    follow(Script(), use)


@pytest.mark.parametrize(
    "final",
    [
        SaxError("no", code="NOT_FOUND"),
        NotFoundError("no cell"),
        SaxError("x", code="INVALID_ARGUMENT"),
    ],
)
def test_what_will_never_change_ends_it(final: SaxflowError) -> None:
    async def use(addresses: Addresses) -> None:
        assert not addresses.ended
        with pytest.raises(type(final)) as caught:
            await addresses.pick(pace())
        assert caught.value is final
        assert addresses.ended

    follow(Script(final), use)


def test_trouble_without_addresses_is_told_with_them_it_is_not() -> None:
    gone = SaxError("nobody answers", code="UNAVAILABLE")

    async def without(addresses: Addresses) -> None:
        with pytest.raises(SaxError, match="nobody answers"):
            await addresses.pick(pace())
        assert not addresses.ended

    follow(Script(gone), without)

    script = Script(says(1, "h:1"), gone, gone)

    async def with_one(addresses: Addresses) -> None:
        while len(script.asked) < 4:
            assert await addresses.pick(pace()) == "h:1"
            await asyncio.sleep(0)

    follow(script, with_one)


def test_a_watch_that_only_ran_out_is_asked_again_from_where_it_was() -> None:
    script = Script(
        says(1, "h:1"),
        DeadlineError("60 s"),
        SaxError("x", code="DEADLINE_EXCEEDED"),
        says(2, "h:2"),
    )

    async def use(addresses: Addresses) -> None:
        while await addresses.pick(pace()) != "h:2":
            await asyncio.sleep(0)
        assert [request.seqno for request in script.asked[:4]] == [0, 1, 1, 1]

    follow(script, use)


def test_no_time_to_wait() -> None:
    async def use(addresses: Addresses) -> None:
        late = pace(1e-9)
        await asyncio.sleep(0)
        with pytest.raises(DeadlineError):
            await addresses.pick(late)

    follow(Script(), use)
