"""The laptop's cloud as a background process: start it, find it, stop it.

`<data-dir>/local.json` says which process serves and where; a lock on `<data-dir>/local.lock`, held
for the life of that process, says whether it still does, so a stale file deceives nobody. Whoever
looks takes a share of the lock for a moment: many may look at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from saxflow.errors import BusyError, ConfigurationError, DeadlineError, NotFoundError, SaxflowError
from saxflow.local.replacing import replace_file

DEFAULT_DATA_DIR = Path(".saxflow")
START_SECONDS = 60.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.05
SIGNAL_SECONDS = 0.5
LOOK_POLL_SECONDS = 0.001
LOOK_SECONDS = 0.5
"""How long whoever wants to serve bears with others who look at the lock."""

LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Running:
    """An embedded cloud that runs: its process and what clients must export."""

    pid: int
    environ: dict[str, str]


def command(verb: str, data_dir: Path) -> str:
    """Return `saxflow local VERB` as a person would type it for a data directory."""
    where = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
    return f"saxflow local {verb}{where}"


def evaluate(data_dir: Path) -> str:
    """Return what points the clients of a shell at the cloud of a data directory."""
    return f'eval "$({command("env", data_dir)})"'


def find(data_dir: Path) -> Running | None:
    """Return the embedded cloud that serves a data directory, None when none does.

    Raises:
        ConfigurationError: one does, and its file is damaged.
    """
    path = data_dir / "local.json"
    if not path.exists() or not _is_locked(data_dir):
        return None
    try:
        state = json.loads(path.read_bytes())
        return Running(int(state["pid"]), dict(state["environ"]))
    except FileNotFoundError:
        return None  # it ends, or serves and has not yet said where
    except (ValueError, TypeError, LookupError) as error:
        raise ConfigurationError(
            f"{path} does not say which process serves ({error!r}); stop that process, delete it"
        ) from error


def require(data_dir: Path) -> Running:
    """Return the embedded cloud that serves a data directory.

    Raises:
        NotFoundError: none does.
    """
    running = find(data_dir)
    if running is None:
        raise NotFoundError(
            f"no embedded cloud runs in {data_dir}; start it with: {command('up', data_dir)}"
        )
    return running


def start(data_dir: Path) -> Running:
    """Start the embedded cloud in the background and return when it is ready.

    Raises:
        BusyError: one runs already in this data directory.
        SaxflowError: it ended instead; the message holds the end of its log.
        DeadlineError: it is not ready in time.
    """
    running = find(data_dir)
    if running:
        raise BusyError(
            f"pid {running.pid} serves {data_dir} already; use it with:"
            f" {evaluate(data_dir)}, or stop it with: {command('down', data_dir)}"
        )
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "local.log"
    with suppress(BusyError), exclusive(data_dir):
        log.unlink(missing_ok=True)
    child = _launch(data_dir, log)
    try:
        running = _await(child, data_dir, log)
    except BaseException:  # Ctrl-C too: what was started here must not come up unseen
        child.terminate()
        child.wait()
        raise
    child.returncode = 0  # it outlives this process on purpose
    return running


def _launch(data_dir: Path, log: Path) -> subprocess.Popen[bytes]:
    foreground = [sys.executable, "-m", "saxflow.cli", "local", "up", "--foreground"]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*foreground, "--data-dir", str(data_dir.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _await(child: subprocess.Popen[bytes], data_dir: Path, log: Path) -> Running:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise SaxflowError(f"the embedded cloud ended at once:\n{_tail(log)}")
        running = find(data_dir)
        if running and running.pid == child.pid:
            return running
        time.sleep(POLL_SECONDS)
    raise DeadlineError(f"the embedded cloud was not ready in {START_SECONDS:.0f} s:\n{_tail(log)}")


def stop(data_dir: Path) -> int | None:
    """Stop the embedded cloud of a data directory; return its process id, None when none ran.

    Raises:
        DeadlineError: it does not end.
    """
    running = find(data_dir)
    if running is None:
        return None
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while _is_locked(data_dir):
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"pid {running.pid} does not end in {STOP_SECONDS:.0f} s; kill -9 {running.pid}"
                " ends it with all that it started"
            )
        time.sleep(POLL_SECONDS)
    return running.pid


def run(data_dir: Path) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        BusyError: another process serves this data directory.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    data_dir = data_dir.resolve()
    with exclusive(data_dir):
        _serve(data_dir)


def _serve(data_dir: Path) -> None:
    from saxflow.stack.laptop import Laptop

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with Laptop(data_dir) as laptop:
        state = data_dir / "local.json"
        replace_file(state, json.dumps({"pid": os.getpid(), "environ": laptop.environ}))
        while not stopped.wait(SIGNAL_SECONDS):
            pass  # a signal between two waits would never wake an endless one
        state.unlink(missing_ok=True)


@contextmanager
def exclusive(data_dir: Path) -> Generator[None]:
    """Hold the data directory's lock while the block runs; what a killed holder told is removed.

    Raises:
        BusyError: another process holds it.
    """
    with _lock_file(data_dir) as lock:
        deadline = time.monotonic() + LOOK_SECONDS
        while not _try(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise BusyError(f"another embedded cloud serves {data_dir}")
            time.sleep(LOOK_POLL_SECONDS)
        (data_dir / "local.json").unlink(missing_ok=True)
        yield


def _is_locked(data_dir: Path) -> bool:
    with _lock_file(data_dir) as lock:
        return not _try(lock, fcntl.LOCK_SH)


def _lock_file(data_dir: Path) -> BinaryIO:
    return (data_dir / "local.lock").open("a+b")


def _try(lock: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])
