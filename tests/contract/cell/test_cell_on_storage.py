"""The containers' processes with everything on gs://: roots, checkpoint, tokenizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from saxflow.gcp.clients import storage_client
from saxflow.gcp.objects import Objects, Uri
from saxflow.local.storage.server import StorageServer
from saxflow.sax.blocking import Cell
from saxflow.sax.servable import REGISTRY, Servable
from saxflow.sax.values import Model

STEP = "gs://models/abc/checkpoint_00000000"
ROOT = "gs://cells/m/g-a1/sax-root"
SECONDS = 60.0


@pytest.fixture
def objects(storage: StorageServer, golden: Path, golden_step: Path) -> Generator[Objects]:
    """Return buckets that hold the golden checkpoint and a tokenizer."""
    client = storage_client("p")
    objects = Objects(client)
    for file in golden_step.rglob("*"):
        if file.is_file():
            uri = Uri.parse(f"{STEP}/{file.relative_to(golden_step)}")
            objects.write(uri, file.read_bytes(), if_generation=None)
    tokenizer = (golden / "tiny320.model").read_bytes()
    objects.write(Uri.parse("gs://models/tokenizer.model"), tokenizer, if_generation=None)
    yield objects
    client.close()


def commit(objects: Objects) -> None:
    for directory in ("/metadata", "/state", ""):
        marker = Uri.parse(f"{STEP}{directory}/commit_success.txt")
        objects.write(marker, b"done", if_generation=None)


@pytest.fixture
def processes(
    objects: Objects, tmp_path: Path, golden_servable: dict[str, Any]
) -> Generator[list[subprocess.Popen[bytes]]]:
    """Return admin and model server, started as a TPU VM's docker would."""
    buckets = {"input_len": 32, "max_new_tokens": 16}
    servable = Servable(**golden_servable | buckets | {"tokenizer": "gs://models/tokenizer.model"})
    (tmp_path / "servable.json").write_text(servable.to_json())
    common = {**os.environ, "SAXFLOW_VM_ADDRESS": "127.0.0.14"}
    mounts = json.dumps({"/etc/saxflow": str(tmp_path)})
    module = [sys.executable, "-m", "saxflow.cell.containers"]
    flags = ["--sax_cell=/sax/test", "--port=0", "--platform_chip=tpuv5e", "--platform_topology=4"]
    started = [
        subprocess.Popen(
            [*module, "admin"],
            env={**common, "GSBUCKET": "cells/m/g-a1", "SAX_CELL": "/sax/test", "PORT": "0"},
        ),
        subprocess.Popen(
            [*module, "model-server", *flags, "--host_ordinal=0"],
            env={**common, "SAX_ROOT": ROOT, "SAXFLOW_CONTAINER_MOUNTS": mounts},
        ),
    ]
    yield started
    for process in started:
        process.terminate()
    assert [process.wait(30) for process in started] == [0, 0]


def joined(cell: Cell) -> list[Any]:
    from saxflow.errors import SaxflowError

    while True:
        try:
            if stats := cell.stats():
                return list(stats)
        except SaxflowError:
            continue


def test_a_cell_lives_on_storage(
    objects: Objects, processes: list[subprocess.Popen[bytes]]
) -> None:
    with Cell.open(ROOT, "/sax/test") as cell:
        (stat,) = joined(cell)
        assert (stat.chip_type, stat.chip_topology, stat.replicas) == ("TPU_V5E", "4", 1)
        cell.publish(Model("/sax/test/m", f"{REGISTRY}.Llama", STEP))
        assert "commit_success.txt is missing" in _failure(cell)
        cell.unpublish("/sax/test/m")
        commit(objects)
        cell.publish(Model("/sax/test/n", f"{REGISTRY}.Llama", STEP))
        cell.wait_for_ready("/sax/test/n", deadline_seconds=SECONDS)
        (answer,) = cell.model("/sax/test/n").generate("hi", deadline_seconds=SECONDS)
        assert answer.score < 0
    found = {stored.uri.name for stored in objects.list(Uri.parse("gs://cells/m/"))}
    assert found == {
        "m/g-a1/sax-root/sax/test/METADATA",
        "m/g-a1/sax-root/sax/test/config.proto",
        "m/g-a1/sax-root/sax/test/location.proto",
        "m/g-a1/sax-fs-root/sax/test/METADATA",
        "m/g-a1/sax-fs-root/sax/test/state.proto",
    }


def _failure(cell: Cell) -> str:
    while True:
        for address in cell.list("/sax/test/m")[0].addresses:
            for status in cell.modelet(address).get_status():
                if status.status == "FAILED":
                    return status.failure_reason
