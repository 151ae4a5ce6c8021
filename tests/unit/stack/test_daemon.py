"""The embedded cloud in the background: started once, found, stopped; stale files deceive nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest

from saxflow.errors import BusyError, ConfigurationError, NotFoundError, SaxflowError
from saxflow.gcp import clients
from saxflow.local.replacing import replace_file
from saxflow.local.vm.guard import descendants
from saxflow.settings import load_endpoints
from saxflow.stack import daemon
from saxflow.stack.laptop import BUCKETS, PROJECT


def test_start_find_stop(tmp_path: Path) -> None:
    """One test for all of it: a start takes seconds."""
    data = tmp_path / "new/cloud"
    data.mkdir(parents=True)
    (data / "local.json").write_text('{"pid": 1, "environ": {}}')
    started = daemon.start(data)
    try:
        assert daemon.find(data) == daemon.require(data) == started
        assert started.pid != 1
        with pytest.raises(BusyError, match=f"pid {started.pid} serves"):
            daemon.start(data)
        client = clients.storage_client(PROJECT, load_endpoints(started.environ))
        assert sorted(each.name for each in client.list_buckets()) == sorted(BUCKETS.values())
        client.close()
        assert started.environ["SAXFLOW_GENERATE"].startswith("http://127.0.0.1:")
    finally:
        assert daemon.stop(data) == started.pid
    assert daemon.find(data) is None
    assert daemon.stop(data) is None
    assert not (data / "local.json").exists()


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    assert daemon.find(tmp_path / "none") is None
    with pytest.raises(NotFoundError, match="start it with: saxflow local up"):
        daemon.require(tmp_path)


def test_a_file_that_a_killed_cloud_left_deceives_nobody(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text(json.dumps({"pid": os.getpid(), "environ": {}}))
    assert daemon.find(tmp_path) is None
    assert daemon.stop(tmp_path) is None
    with daemon.exclusive(tmp_path):
        assert daemon.find(tmp_path) is None, "it is of another than who serves now"
        (tmp_path / "local.json").write_text(json.dumps({"pid": os.getpid(), "environ": {}}))
        assert daemon.find(tmp_path) == daemon.Running(os.getpid(), {})


def test_many_who_look_at_once_are_not_deceived_by_one_another(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text(json.dumps({"pid": os.getpid(), "environ": {}}))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(daemon.find, [tmp_path] * 2000))
    assert set(found) == {None}


def test_whoever_looks_keeps_nobody_from_serving(tmp_path: Path) -> None:
    (tmp_path / "local.json").write_text(json.dumps({"pid": os.getpid(), "environ": {}}))
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            daemon.find(tmp_path)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            for _ in range(200):
                with daemon.exclusive(tmp_path):
                    replace_file(tmp_path / "local.json", '{"pid": 1, "environ": {}}')
        finally:
            over.set()
        looking.result()


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"pid": "x", "environ": {}}', b"{}", b"\xff"])
def test_a_damaged_file_is_named(tmp_path: Path, text: bytes) -> None:
    with daemon.exclusive(tmp_path):
        (tmp_path / "local.json").write_bytes(text)
        with pytest.raises(ConfigurationError, match=r"local\.json"):
            daemon.find(tmp_path)


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    with daemon.exclusive(tmp_path):
        with (
            pytest.raises(BusyError, match="another embedded cloud serves"),
            daemon.exclusive(tmp_path),
        ):
            pass
        with pytest.raises(BusyError):
            daemon.run(tmp_path)
    with daemon.exclusive(tmp_path):
        pass


def test_a_cloud_that_ends_at_once_tells_why(tmp_path: Path) -> None:
    (tmp_path / "local.log").write_text("of the one that serves\n")
    with daemon.exclusive(tmp_path), pytest.raises(SaxflowError, match="another embedded cloud"):
        daemon.start(tmp_path)
    assert (tmp_path / "local.log").read_text().startswith("of the one that serves\n")


def test_an_interrupted_start_leaves_no_cloud(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    program = "from saxflow.stack import daemon; import pathlib, sys;"
    program += "daemon.start(pathlib.Path(sys.argv[1]))"
    starter = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=PIPE)
    eventually(lambda: (tmp_path / "local.log").exists() and descendants(starter.pid))
    family = descendants(starter.pid)
    starter.send_signal(signal.SIGINT)
    starter.communicate()
    assert [pid for pid in family if Path(f"/proc/{pid}").exists()] == []
    assert daemon.find(tmp_path) is None


def test_a_cloud_that_died_on_its_own_is_stopped(tmp_path: Path) -> None:
    """Its process ends between the look and the signal."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    state = json.dumps({"pid": gone.pid, "environ": {}})
    with ThreadPoolExecutor(1) as pool:
        with daemon.exclusive(tmp_path):
            (tmp_path / "local.json").write_text(state)
            assert daemon.find(tmp_path)
            stopping = pool.submit(daemon.stop, tmp_path)
            assert not stopping.done()
        assert stopping.result(60) in (gone.pid, None)


def test_a_cloud_whose_file_was_deleted_ends_well(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    command = [sys.executable, "-m", "saxflow.cli", "local", "up", "--foreground", "--data-dir"]
    with subprocess.Popen([*command, str(tmp_path)], stderr=PIPE) as cloud:
        eventually(lambda: daemon.find(tmp_path))
        (tmp_path / "local.json").unlink()
        cloud.terminate()
        assert cloud.communicate()[1] == b""
    assert cloud.returncode == 0
