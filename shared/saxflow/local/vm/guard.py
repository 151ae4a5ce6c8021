"""Run one command so that nothing it starts can outlive the one who asked for it.

The guard is a process of its own between the asker and the command. It is the subreaper of all that
the command starts, daemons included, and it holds the read end of a pipe whose write end only the
asker has. When the asker closes it, or dies in whatever way, the guard kills the whole tree.
SIGTERM is passed on to the command. The exit code is the command's, 128 + n after signal n.

Only the standard library is imported and no package: the guard starts with `python -I -S` in 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIFELINE = 0


def main(argv: list[str]) -> int:
    """Run `argv`, return its exit code once nothing of its tree is left."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    wakeup, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _wake)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = _spawn(argv)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        _kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    code = _watch(child, wakeup)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _kill_all()
    return code


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Let SIGCHLD write to the wakeup pipe; an ignored signal would not."""


def _spawn(argv: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _watch(child: int, wakeup: int) -> int:
    """Wait for the command or for the end of the lifeline, whichever comes first."""
    while True:
        ready, _, _ = select.select([LIFELINE, wakeup], [], [])
        if wakeup in ready:
            os.read(wakeup, 4096)
            code = _reap(child)
            if code is not None:
                return code
        if LIFELINE in ready and not os.read(LIFELINE, 4096):
            return 128 + signal.SIGKILL


def _reap(child: int) -> int | None:
    """Collect everything that has ended; return the command's code if it is among them."""
    code = None
    for pid, status in _ended(os.WNOHANG):
        if pid == child:
            returned = os.waitstatus_to_exitcode(status)
            code = returned if returned >= 0 else 128 - returned
    return code


def _ended(flags: int) -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, flags)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


def _kill_all() -> None:
    """Kill every descendant; what is orphaned meanwhile becomes ours and is killed in turn."""
    while True:
        family = descendants(os.getpid())
        for pid in family:
            _kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself


def descendants(root: int) -> list[int]:
    """Return the process ids below `root`, from the process table as it is now."""
    children: dict[int, list[int]] = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        parent = _parent(pid)
        if parent is not None:
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _parent(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            text = stat.read()
    except OSError:
        return None
    return int(text.rpartition(b")")[2].split()[1])


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
