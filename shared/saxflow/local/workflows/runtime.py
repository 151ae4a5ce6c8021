"""What a running workflow may touch of the world, and how it is stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from saxflow.local.clock import Clock
from saxflow.local.workflows.failures import Cancelled, Value
from saxflow.local.workflows.http import HttpClient

_LOG = logging.getLogger("saxflow.local.workflows")


class Cancellation:
    """A request to stop, seen by sleeps, waits and open connections at once."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._lock = threading.Lock()
        self._closers: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Ask the Execution to stop and break what it is waiting for."""
        self.event.set()
        with self._lock:
            closers = list(self._closers)
        for close in closers:
            close()

    def check(self) -> None:
        """Raise `Cancelled` when the Execution has been asked to stop."""
        if self.event.is_set():
            raise Cancelled

    @contextmanager
    def breaking(self, close: Callable[[], None]) -> Generator[None]:
        """Call `close` if cancellation comes while the block runs.

        Raises:
            Cancelled: it came, before or during the block.
        """
        with self._lock:
            self._closers.append(close)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._closers.remove(close)
            self.check()


class CallbackBook(Protocol):
    """Callback endpoints of one Execution."""

    def create(self, method: str) -> str:
        """Open an endpoint for an HTTP method and return its URL."""
        ...

    def wait(self, url: str, timeout_seconds: float, cancellation: Cancellation) -> Value | None:
        """Return the request that came in, None when the time is over."""
        ...


def log_entry(severity: str, data: Value) -> None:
    """Write an entry of `sys.log` to the process's log."""
    _LOG.log(getattr(logging, severity, logging.INFO), "sys.log %s: %s", severity, data)


@dataclass(frozen=True)
class Runtime:
    """The world of one Execution.

    Args:
        clock: all time.
        http: makes requests.
        environment: what `sys.get_env` knows.
        log: takes what `sys.log` writes, (severity, data).
        callbacks: None where no service can receive callbacks.
        cancellation: how the Execution is stopped.
    """

    clock: Clock
    http: HttpClient
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    log: Callable[[str, Value], None] = log_entry
    callbacks: CallbackBook | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: the Execution was cancelled meanwhile.
        """
        if self.clock.sleep(seconds, self.cancellation.event):
            raise Cancelled
