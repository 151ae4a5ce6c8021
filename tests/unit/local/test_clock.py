from __future__ import annotations

import threading
import time

from saxflow.local.clock import RealClock, VirtualClock


def test_real_clock_tells_the_machines_time() -> None:
    clock = RealClock()
    assert abs(clock.time() - time.time()) < 5
    assert clock.now().utcoffset() is not None


def test_real_sleep_can_be_cancelled() -> None:
    cancel = threading.Event()
    cancel.set()
    assert RealClock().sleep(60, cancel) is True
    assert RealClock().sleep(0) is False


def test_real_sleep_may_be_centuries_long() -> None:
    cancel = threading.Event()
    threading.Timer(0.01, cancel.set).start()
    assert RealClock().sleep(1e12, cancel) is True


def test_virtual_clock_moves_only_when_told() -> None:
    clock = VirtualClock(100.0)
    woken = threading.Event()

    def sleeper() -> None:
        clock.sleep(3600)
        woken.set()

    thread = threading.Thread(target=sleeper)
    thread.start()
    while not woken.is_set():
        clock.advance(1800)
    thread.join()
    assert clock.time() >= 100 + 3600


def test_virtual_clock_in_auto_mode_jumps() -> None:
    clock = VirtualClock(0.0, auto=True)
    assert clock.sleep(86400) is False
    assert clock.time() == 86400
    assert clock.now().day == 2


def test_virtual_sleep_can_be_cancelled() -> None:
    clock, cancel = VirtualClock(), threading.Event()
    threading.Timer(0.01, cancel.set).start()
    assert clock.sleep(3600, cancel) is True
