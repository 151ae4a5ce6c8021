"""Ports of a restarted admin, and processes that come back."""

from __future__ import annotations

import os
import signal
import threading

from saxflow.cell.supervisor import Member, Supervisor, admin_port


def test_a_restarted_admin_moves_within_a_range() -> None:
    assert [admin_port(10000, start) for start in (0, 1, 2, 8, 9)] == [
        10000,
        10010,
        10011,
        10017,
        10010,
    ]
    assert admin_port(0, 3) == 0


class Watched(Member):
    """A member that tells when it has been started again."""

    restarted = threading.Event()

    def start(self) -> None:
        super().start()
        if self.starts > 1:
            self.restarted.set()


def test_a_killed_process_is_started_again_and_all_end_with_the_supervisor(tmp_path: str) -> None:
    environ = {"SAX_ROOT": f"{tmp_path}/root", "SAX_FS_ROOT": f"{tmp_path}/fs"}
    member = Watched("admin", ["admin"], environ, port=0)
    with Supervisor([member]) as supervisor:
        first = member.process
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        assert Watched.restarted.wait(30)
        assert supervisor.failed() is None
    assert member.process is not first
    assert member.process is not None
    assert member.process.returncode is not None
