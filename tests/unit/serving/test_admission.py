"""The bounded queue."""

from __future__ import annotations

import asyncio

import pytest

from saxflow.errors import BusyError
from saxflow.serving.admission import Admission


def test_work_wait_refuse_and_go_on() -> None:
    async def scenario() -> None:
        admission = Admission(max_active=2, max_waiting=1)
        release = asyncio.Event()
        entered: list[int] = []

        async def work(number: int) -> None:
            async with admission.slot():
                entered.append(number)
                await release.wait()

        tasks = [asyncio.create_task(work(number)) for number in range(3)]
        while admission.active + admission.waiting < 3:
            await asyncio.sleep(0)
        assert (admission.active, admission.waiting, entered) == (2, 1, [0, 1])
        with pytest.raises(BusyError, match="2 requests are at work and 1 wait"):
            await work(3)
        release.set()
        await asyncio.gather(*tasks)
        assert (admission.active, admission.waiting, entered) == (0, 0, [0, 1, 2])

    asyncio.run(scenario())


def test_who_stops_waiting_leaves_the_queue() -> None:
    async def scenario() -> None:
        admission = Admission(max_active=1, max_waiting=1)
        async with admission.slot():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(admission.slot().__aenter__(), 0.01)
            assert (admission.active, admission.waiting) == (1, 0)
        async with admission.slot():
            assert admission.active == 1

    asyncio.run(scenario())
