"""Cloud Run services as child processes: each on a port of its own, restarted when it dies.

The contract is Cloud Run's: the command listens on the port in `PORT`. A guard stands between
(`saxflow.local.vm.guard`), so that nothing outlives the embedded cloud, however it ends.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from saxflow.errors import ConfigurationError, DeadlineError
from saxflow.local.http import LOOPBACK
from saxflow.local.vm.processes import GuardedProcess

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.01
_RESTART_SECONDS = 1.0
_LOG_TAIL_LINES = 20


class ChildService:
    """One service; its port is its own until `stop`, also while it does not listen.

    Args:
        argv: its command.
        environ: its complete environment; `PORT` is added.
        log: file its output is appended to.
    """

    def __init__(
        self, name: str, argv: Sequence[str], environ: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._held = reserved_port()
        self.port: int = self._held.getsockname()[1]
        self._argv = list(argv)
        self._environ = {**environ, "PORT": str(self.port), "K_SERVICE": name}
        self._stopping = threading.Event()
        self._ready = threading.Event()
        try:
            self._process = self._launch()
        except OSError:
            self._held.close()
            raise
        self._keeper = threading.Thread(target=self._keep, name=f"keep-{name}", daemon=True)
        self._keeper.start()

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the guard of the process that runs now."""
        return self._process.pid

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return when it accepts connections.

        Raises:
            ConfigurationError: it ended before it ever did; the message holds the end of its log.
            DeadlineError: it does not in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._accepts():
            if not self._ready.is_set() and not self._process.running():
                raise ConfigurationError(f"{self.name} ended at its start:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"{self.name} does not listen after {timeout_seconds:.0f} s:\n{self._tail()}"
                )
            time.sleep(_POLL_SECONDS)
        self._ready.set()

    def stop(self) -> None:
        """Kill it with all that it started."""
        self._stopping.set()
        self._ready.set()
        self._process.kill()
        self._keeper.join()
        self._held.close()

    def _launch(self) -> GuardedProcess:
        return GuardedProcess(self._argv, env=self._environ, output=self.log)

    def _keep(self) -> None:
        """Start it again when it dies after it was ready; try until it can be started."""
        while not self._stopping.is_set():
            self._process.wait()
            self._ready.wait()  # one that never came up is told of by `wait_ready`
            if self._stopping.wait(_RESTART_SECONDS):
                return
            try:
                self._process = self._launch()
            except OSError:
                _LOG.exception("%s cannot be started again", self.name)
            if self._stopping.is_set():
                self._process.kill()

    def _accepts(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])


def function_command(source: Path, target: str, signature: str) -> list[str]:
    """Return the command that serves a function.

    Args:
        source: directory with its `main.py`.
        target: name of the function in it.
        signature: `http` or `cloudevent`.
    """
    module = "saxflow.local.function_host"
    return [sys.executable, "-m", module, str(source / "main.py"), target, signature]


def reserved_port() -> socket.socket:
    """Return a socket that keeps a loopback port while it is open.

    Nobody is given that port by chance; whoever sets SO_REUSEADDR, as servers do, may listen on it,
    and listen again after a crash.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((LOOPBACK, 0))
    return held
