from __future__ import annotations

import threading

from saxflow.local.clock import RealClock, VirtualClock
from saxflow.local.http import HttpServer, Request, Response
from saxflow.local.scheduler import Schedule, Scheduler


def test_posts_come_at_intervals_whatever_the_answers(dead_address: str) -> None:
    seen: list[tuple[str, bytes]] = []
    enough = threading.Event()

    def handle(request: Request) -> Response:
        seen.append((request.path, request.body.read()))
        if len(seen) >= 3:
            enough.set()
        return Response(500 if len(seen) == 1 else 200)

    server = HttpServer(handle)
    server.start()
    scheduler = Scheduler(RealClock())
    scheduler.add(Schedule("tick", f"{server.url}/path", 0.01))
    scheduler.add(Schedule("nobody", f"http://{dead_address}", 0.01))
    assert enough.wait(60)
    scheduler.stop()
    server.stop()
    assert seen[0] == ("/path", b"{}")


def test_a_late_one_skips_to_the_next_interval() -> None:
    clock = VirtualClock(1000.0, auto=True)
    seen: list[float] = []
    enough = threading.Event()

    def handle(_: Request) -> Response:
        seen.append(clock.time())
        if len(seen) == 1:
            clock.advance(25)
        elif len(seen) == 3:
            enough.set()
        return Response(200)

    server = HttpServer(handle)
    server.start()
    scheduler = Scheduler(clock)
    scheduler.add(Schedule("tick", server.url, 10))
    assert enough.wait(60)
    scheduler.stop()
    server.stop()
    assert seen[:3] == [1010, 1040, 1050]
