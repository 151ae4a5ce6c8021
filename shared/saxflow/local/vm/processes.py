"""Guarded processes: what Batch and the VMs start, and end without leaving anything behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

GUARD = Path(__file__).with_name("guard.py")


class GuardedProcess:
    """One command and all that it starts, below a guard (`saxflow.local.vm.guard`).

    Args:
        argv: the command.
        env: its complete environment.
        output: file that stdout and stderr are appended to.
        cwd: working directory.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        output: Path,
        cwd: Path | None = None,
    ) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), *argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        if self._process.stdin is None:
            raise RuntimeError("a guard always has a lifeline")
        self._lifeline: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._closing = threading.Lock()

    @property
    def pid(self) -> int:
        """Process id of the guard."""
        return self._process.pid

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Return the exit code once the whole tree has ended (128 + n after signal n).

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._process.wait(timeout_seconds)
        self._cut()
        return code if code >= 0 else 128 - code  # a signal came before the guard was ready

    def running(self) -> bool:
        """Say whether anything of the tree is left."""
        return self._process.poll() is None

    def terminate(self) -> None:
        """Send SIGTERM to the command."""
        if self.running():
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the whole tree and wait until it is gone."""
        self._cut()
        self._process.wait()

    def _cut(self) -> None:
        with self._closing:
            if not self._lifeline.closed:
                self._lifeline.close()
