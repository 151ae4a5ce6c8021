"""What is looked at from outside: the sockets of this process."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def sockets() -> Callable[[], set[str]]:
    """Return a function that names the sockets which this process has open."""

    def opened() -> set[str]:
        fds = [f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd")]
        names = {os.path.realpath(each).rpartition("/")[2] for each in fds}
        return {name for name in names if name.startswith("socket:")}

    return opened
