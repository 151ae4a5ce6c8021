"""Keep the processes of a cell alive on a laptop, in the way SAX can bear.

A dead admin comes back on another port, so that location.proto's bytes change and every server, a
real one too, joins again within seconds. A dead model server comes back where it was: it says
something new of itself when it joins, and so is sent its model again.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

ADMIN_PORTS = 8
"""A restarted admin takes the next of this many ports, from 10 above the first on."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0
_STABLE_SECONDS = 30.0
_STOP_SECONDS = 5.0


def admin_port(first: int, start: int) -> int:
    """Return the port of an admin's `start`-th start, counted from 0; 0 lets the system choose."""
    if first == 0 or start == 0:
        return first
    return first + 10 + (start - 1) % ADMIN_PORTS


@dataclass
class Member:
    """One process of the cell.

    Args:
        name: `admin` or `model-server`.
        arguments: after `python -m saxflow.cell.containers`.
        environ: added to this process's environment.
        port: first port of an admin, which moves; None for a process that keeps its port.
    """

    name: str
    arguments: Sequence[str]
    environ: Mapping[str, str]
    port: int | None = None
    starts: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started: float = 0.0

    def start(self) -> None:
        """Start the process, the next time in a row."""
        environ = {**os.environ, **self.environ, "SAXFLOW_CELL_PARENT": str(os.getpid())}
        if self.port is not None:
            environ["PORT"] = str(admin_port(self.port, self.starts))
        command = [sys.executable, "-m", "saxflow.cell.containers", *self.arguments]
        self.process = subprocess.Popen(command, env=environ, start_new_session=True)
        self.starts += 1
        self.started = time.monotonic()

    def stop(self) -> None:
        """Ask the process to end, and make it end."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """Starts members and restarts the dead, each watched by a thread of its own."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(member,), name=member.name, daemon=True)
            for member in members
        ]

    def __enter__(self) -> Supervisor:
        for member in self._members:
            member.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for member in self._members:
            member.stop()
        for thread in self._threads:
            thread.join()

    def failed(self) -> str | None:
        """Return the name of a member that has died over and over, None while all is well."""
        return next((member.name for member in self._members if member.starts > 3), None)

    def _keep(self, member: Member) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while member.process is not None:
            code = member.process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - member.started > _STABLE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _log.warning("%s died (%d) and is started again in %.1f s", member.name, code, pause)
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            member.start()
