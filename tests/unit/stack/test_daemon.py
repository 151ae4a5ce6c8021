"""The embedded cloud in the background: started once, found, stopped; stale files deceive nobody."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from saxflow.errors import BusyError, ConfigurationError, NotFoundError, SaxflowError
from saxflow.gcp import clients
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
        assert daemon.find(tmp_path) == daemon.Running(os.getpid(), {})


@pytest.mark.parametrize("text", ["{", "[]", '{"pid": "x", "environ": {}}', "{}"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "local.json").write_text(text)
    with daemon.exclusive(tmp_path), pytest.raises(ConfigurationError, match=r"local\.json"):
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
    with daemon.exclusive(tmp_path), pytest.raises(SaxflowError, match="another embedded cloud"):
        daemon.start(tmp_path)
