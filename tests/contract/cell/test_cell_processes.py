"""A cell of real processes under saxflow's own client, and under kill -9."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from saxflow.errors import SaxError
from saxflow.sax.blocking import Cell
from saxflow.sax.servable import REGISTRY
from saxflow.sax.values import Model

WANTED = "85,295,250,138,257,149,106,44,217,295,253,20,129,148,275,180"
STEPS = {"per_example_max_decode_steps": 16}
SECONDS = 60.0


def opened(up: Any) -> Cell:
    return Cell.open(up.ready["sax_root"], up.ready["cell"])


def test_up_prints_where_it_is_and_ends_cleanly(cell_up: Callable[..., Any]) -> None:
    up = cell_up("--model=tiny")
    assert up.ready["cell"] == "/sax/test"
    assert up.ready["model"] == "/sax/test/tiny"
    with opened(up) as cell:
        (answer,) = cell.model("/sax/test/tiny").generate("3", STEPS, deadline_seconds=SECONDS)
        assert answer.text == WANTED
        with pytest.raises(SaxError) as caught:
            cell.model("/sax/test/tiny").generate("3", {"nope": 1.0}, deadline_seconds=SECONDS)
        assert caught.value.code == "INVALID_ARGUMENT"
    members = up.members()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(30) == 0
    for pid in members.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_killed_model_server_and_a_killed_admin_come_back(cell_up: Callable[..., Any]) -> None:
    up = cell_up("--model=tiny")
    with opened(up) as cell, ThreadPoolExecutor(1) as pool:
        model = cell.model("/sax/test/tiny")
        streaming = pool.submit(lambda: list(model.generate_stream("3", deadline_seconds=SECONDS)))
        os.kill(up.members()["model-server"], signal.SIGKILL)
        error = streaming.exception(SECONDS)
        assert error is None or isinstance(error, SaxError)
        (answer,) = model.generate("3", STEPS, deadline_seconds=SECONDS)
        assert answer.text == WANTED
        os.kill(up.members()["admin"], signal.SIGKILL)
        (answer,) = model.generate("3", STEPS, deadline_seconds=SECONDS)
        assert answer.text == WANTED
    with opened(up) as cell:
        while not _published(cell):
            pass
        assert _published(cell) == ["/sax/test/tiny"]
        cell.wait_for_ready("/sax/test/tiny", deadline_seconds=SECONDS)


def _published(cell: Cell) -> list[str]:
    try:
        return [found.model.model_id for found in cell.list()]
    except SaxError as error:
        if error.code != "UNAVAILABLE":
            raise
        return []


def test_two_servers_hold_two_models_of_one_cell(
    cell_up: Callable[..., Any], golden_step: Any
) -> None:
    first = cell_up("--model=one")
    second = cell_up("--model=two", "--server-only")
    assert set(first.ready["servers"]).isdisjoint(second.ready["servers"])
    with opened(first) as cell:
        for name in ("one", "two"):
            (answer,) = cell.model(f"/sax/test/{name}").generate(
                "3", STEPS, deadline_seconds=SECONDS
            )
            assert answer.text == WANTED
        cell.unpublish("/sax/test/two")
        third = Model(
            "/sax/test/three",
            f"{REGISTRY}.Llama",
            str(golden_step),
        )
        cell.publish(third)
        cell.wait_for_ready("/sax/test/three", deadline_seconds=SECONDS)
        assert {p.model.model_id for p in cell.list()} == {"/sax/test/one", "/sax/test/three"}


def test_a_failed_load_ends_up_with_the_servers_reason(cell_up: Callable[..., Any]) -> None:
    up = cell_up("--model=tiny", layers=3)
    assert up.process.wait(30) == 3
    assert "x_layers_2" in up.ready["error"]
    assert up.ready["exit_code"] == 3


def test_another_checkpoint_of_a_name_takes_the_place_of_the_one_before(
    cell_up: Callable[..., Any], golden_step: Path, tmp_path: Path
) -> None:
    first = cell_up("--model=tiny")
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(30) == 0
    moved = tmp_path / "moved" / golden_step.name
    shutil.copytree(golden_step, moved)
    second = cell_up("--model=tiny", f"--checkpoint={moved}")
    assert second.ready["checkpoint"] == str(moved)
    with opened(second) as cell:
        assert [found.model.checkpoint for found in cell.list()] == [str(moved)]
        (answer,) = cell.model("/sax/test/tiny").generate("3", STEPS, deadline_seconds=SECONDS)
        assert answer.text == WANTED
    other = cell_up("--model=tiny", "--server-only")
    assert other.process.wait(30) == 1
    assert "saxflow sax unpublish /sax/test/tiny" in other.ready["error"]


def test_a_model_for_which_no_server_is_left_is_told(cell_up: Callable[..., Any]) -> None:
    first = cell_up("--model=one")
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(30) == 0
    second = cell_up("--model=two")
    assert second.process.wait(30) == 1
    assert "no server is left for /sax/test/two: /sax/test/one" in second.ready["error"]


def test_a_port_in_use_is_told_before_anything_starts(cell_up: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags in (
            (f"--port={port}",),
            (f"--port={port - 1}",),
            (f"--port={port}", "--server-only"),
        ):
            up = cell_up("--model=tiny", *flags)
            assert up.process.wait(30) == 1
            assert f"port {port} of 127.0.0.1 cannot be used" in up.ready["error"]


def test_several_workers_form_one_server_and_end_together(
    tmp_path: Any, golden_step: Any, cell_up: Callable[..., Any]
) -> None:
    up = cell_up("--admin-only")
    root = up.ready["sax_root"]
    workers = [_worker(root, tmp_path / "servable-0.json", ordinal) for ordinal in (0, 1)]
    try:
        with opened(up) as cell:
            model = Model(
                "/sax/test/m",
                f"{REGISTRY}.Llama",
                str(golden_step),
            )
            cell.publish(model)
            cell.wait_for_ready("/sax/test/m", deadline_seconds=2 * SECONDS)
            assert [stat.replicas for stat in cell.stats()] == [1]
            (answer,) = cell.model("/sax/test/m").generate("3", STEPS, deadline_seconds=SECONDS)
            assert answer.text == WANTED
        workers[1].kill()
        assert workers[0].wait(SECONDS) == 6
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _worker(root: str, servable: Any, ordinal: int) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "SAX_ROOT": root, "SAXFLOW_VM_ADDRESS": f"127.0.0.{30 + ordinal}"}
    flags = [
        "--sax_cell=/sax/test",
        "--port=0",
        "--platform_chip=tpuv5e",
        "--platform_topology=16",
        "--host_count=2",
        f"--host_ordinal={ordinal}",
        f"--servable={servable}",
    ]
    command = [sys.executable, "-m", "saxflow.cell.containers", "model-server", *flags]
    return subprocess.Popen(command, env=environ)
