"""One TPU worker or several, real scripts, real storage, containers that are tiny servers."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.cloud import storage

from saxflow import bundled
from saxflow.errors import NotFoundError
from saxflow.gcp.objects import Objects, Uri
from saxflow.local.clock import RealClock
from saxflow.local.faults import Faults
from saxflow.local.images import ImageRegistry
from saxflow.local.storage.server import StorageServer
from saxflow.local.vm.launcher import AddressClaim, VirtualMachine, VmPaths
from saxflow.local.vm.metadata import tpu_leaves

T = TypeVar("T")
PREFIX = "tiny/abc-a1"
ADMIN = "us-docker.pkg.dev/p/r/sax-admin@sha256:" + "a" * 64
SERVER = "us-docker.pkg.dev/p/r/sax-model-server@sha256:" + "b" * 64
BROKEN = "us-docker.pkg.dev/p/r/broken@sha256:" + "c" * 64


class Cell:
    """The workers of one node, and what they left in storage."""

    def __init__(self, data: Path, storage_root: str, objects: Objects, faults: Faults) -> None:
        self.data = data
        self.storage_root = storage_root
        self.objects = objects
        self.faults = faults
        self.machines: list[VirtualMachine] = []
        self._claims: list[AddressClaim] = []
        program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("containers.py"))]
        images = {ADMIN: [*program, "admin"], SERVER: [*program, "server"]}
        ImageRegistry({**images, BROKEN: [*program, "broken"]}).save(data / "images.json")

    def put(self, name: str, body: bytes) -> dict[str, str]:
        uri = Uri("control", name)
        generation = self.objects.write(uri, body, if_generation=None)
        digest = hashlib.sha256(body).hexdigest()
        return {"uri": str(uri), "generation": str(generation), "sha256": digest}

    def config(self, **changes: Any) -> dict[str, Any]:
        return {
            "deployment": "tiny",
            "id": "sf-tiny-abc-a1",
            "startup": self.put("startup.sh", bundled.text("tpu/startup.sh").encode()),
            "servable": self.put("servable.json", b'{"class": "Llama"}'),
            "storage_root": self.storage_root,
            "cell": "/sax/test",
            "cells_bucket": "cells",
            "cell_prefix": PREFIX,
            "sax_root": f"gs://cells/{PREFIX}/sax-root",
            "fs_root": f"gs://cells/{PREFIX}/sax-fs-root",
            "images": {"admin": ADMIN, "model_server": SERVER},
            "chip": "tpuv5e",
            "topology": "4",
            "admin_port": 10000,
            "server_port": 10001,
            "model_path": "saxml.server.pax.lm.params.saxflow.Llama",
            "heartbeat_seconds": 1,
            "server_restart_seconds": 1,
            **changes,
        }

    def hostile_values(self) -> dict[str, str]:
        touch = f"touch {self.data}/pwned"
        return {
            "cell": f"/sax/$({touch})",
            "sax_root": f"`{touch}`",
            "chip": f"'; {touch}; '",
            "topology": f'"; {touch}; $HOME * "',
        }

    def boot(self, config: dict[str, Any], hosts: int = 1) -> None:
        claim = AddressClaim(hosts)
        self._claims.append(claim)
        attributes = {
            "startup-script": bundled.text("tpu/bootstrap.sh"),
            "saxflow-config": json.dumps(config),
        }
        for worker, address in enumerate(claim.addresses):
            leaves = tpu_leaves(
                project="p",
                zone="us-central1-a",
                node="sf-tiny",
                worker=worker,
                addresses=claim.addresses,
                accelerator_type="v5litepod-4",
                service_account="tpu@p",
                attributes=attributes,
                instance_id="1234567890",
            )
            machine = VirtualMachine(
                VmPaths(self.data / "vms/sf-tiny", worker),
                address=address,
                metadata=leaves,
                images=self.data / "images.json",
                container_env={"PATH": "/usr/bin:/bin"},
            )
            self.machines.append(machine)
            machine.power_on()

    def state(self, worker: int = 0) -> dict[str, Any] | None:
        uri = Uri("cells", f"{PREFIX}/workers/{worker}.json")
        try:
            return self.objects.read_json(uri)[0]
        except NotFoundError:  # not there yet, or overwritten between look and read
            return None

    def await_state(
        self, wanted: Callable[[dict[str, Any]], bool], worker: int = 0, seconds: float = 60.0
    ) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            state = self.state(worker)
            return state if state is not None and wanted(state) else None

        return self.await_value(look, worker, seconds)

    def await_value(self, look: Callable[[], T | None], worker: int = 0, seconds: float = 60) -> T:
        deadline, pause = time.monotonic() + seconds, threading.Event()
        while time.monotonic() < deadline:
            value = look()
            if value:
                return value
            pause.wait(0.05)
        raise AssertionError(f"worker {worker}: {self.state(worker)}\n{self.logs(worker)}")

    def ready(self, worker: int = 0) -> dict[str, Any]:
        return self.await_state(lambda s: s["state"] == "ready", worker)

    def logs(self, worker: int = 0) -> str:
        root = self.machines[worker].paths.root / "var/log"
        return "\n".join(f"== {f.name}\n{f.read_text()}" for f in sorted(root.glob("*.log")))

    def container(self, name: str, worker: int = 0) -> dict[str, Any]:
        """What the container was started with, by its own account: its latest first line."""
        directory = self.machines[worker].paths.host / "containers"
        lines = (directory / f"{name}.log").read_text().splitlines()
        return json.loads(lines[-1])

    def record(self, name: str, worker: int = 0) -> dict[str, Any]:
        directory = self.machines[worker].paths.host / "containers"
        return json.loads((directory / f"{name}.json").read_text())

    def started(self, name: str, worker: int = 0) -> dict[str, Any] | None:
        """As `container`, None while there is none or its log has no whole line yet."""
        try:
            return self.container(name, worker)
        except (OSError, IndexError, ValueError):
            return None

    def crash(self, name: str, worker: int = 0) -> None:
        """Kill a container's own process from outside."""
        os.kill(self.container(name, worker)["pid"], signal.SIGKILL)

    def close(self) -> None:
        for machine in self.machines:
            machine.power_off()
        for claim in self._claims:
            claim.close()


@contextmanager
def fresh_cell(data: Path) -> Iterator[Cell]:
    faults = Faults()
    server = StorageServer(
        data / "storage", clock=RealClock(), faults=faults, publish=lambda *_: None
    )
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        client = storage.Client(project="p")
    for bucket in ("control", "cells"):
        client.create_bucket(bucket)
    cell = Cell(data, server.url, Objects(client), faults)
    try:
        yield cell
    finally:
        cell.close()
        client.close()
        server.stop()


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    """Return a cell whose node is not booted yet."""
    with fresh_cell(tmp_path) as cell:
        yield cell


@pytest.fixture(scope="module")
def ready_cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """Return a cell of one ready worker, whose configuration is full of shell text; only look."""
    with fresh_cell(tmp_path_factory.mktemp("ready cell")) as cell:
        cell.boot(cell.config(heartbeat_seconds=0.5, **cell.hostile_values()))
        cell.ready()
        yield cell


@pytest.fixture
def broken_image() -> str:
    return BROKEN
