"""`saxflow cell up`: start the members of a cell, publish, wait until it serves, keep it alive."""

from __future__ import annotations

import logging
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saxflow.cell.containers import read_servable
from saxflow.cell.supervisor import Member, Supervisor
from saxflow.errors import (
    BusyError,
    ConfigurationError,
    DeadlineError,
    InputError,
    NotFoundError,
    SaxError,
    SaxflowError,
)
from saxflow.sax.blocking import Cell
from saxflow.sax.names import CellName, ModelName
from saxflow.sax.roots import SaxRoot
from saxflow.sax.servable import Servable
from saxflow.sax.values import Model

READY_SECONDS = 120.0
LOAD_SECONDS = 3600.0
_POLL_SECONDS = 0.1
_STEP = re.compile(r"checkpoint_\d{8}")


@dataclass(frozen=True)
class UpOptions:
    """What to start; paths are absolute, `port` 0 takes free ones, `model` None publishes nothing."""

    cell: CellName
    checkpoint: str
    servable_file: Path
    servable: Servable
    sax_root: str
    fs_root: str
    host: str
    port: int
    model: ModelName | None
    admin_only: bool
    server_only: bool
    cache_dir: str | None

    @classmethod
    def parse(cls, *, cell: str, servable: Any, sax_root: Any, **options: Any) -> UpOptions:
        """Read the command line's values.

        Raises:
            InputError: a name, servable.json or the checkpoint's directory is malformed.
            NotFoundError: servable.json or the checkpoint is missing.
        """
        name = CellName.parse(cell)
        root = _absolute(sax_root)
        file = Path(servable).absolute()
        if not file.is_file():
            raise NotFoundError(f"{file} does not exist; give --servable a servable.json")
        _check_step(options["checkpoint"])
        model = options["model"]
        return cls(
            cell=name,
            checkpoint=_absolute(options["checkpoint"]),
            servable_file=file,
            servable=read_servable(file),
            sax_root=root,
            fs_root=_absolute(options["fs_root"]) if options["fs_root"] else f"{root}-fs",
            host=options["host"],
            port=options["port"],
            model=ModelName.parse(f"{name}/{model}") if model else None,
            admin_only=options["admin_only"],
            server_only=options["server_only"],
            cache_dir=options["jax_cache_dir"],
        )

    @property
    def ports(self) -> list[int]:
        """The admin's port and the model server's, as far as they are chosen and started."""
        if self.port == 0 or self.server_only or self.admin_only:
            return [self.port] if self.port else []
        return [self.port, self.port + 1]

    def members(self, compiled: str) -> list[Member]:
        """Return the processes to run.

        Args:
            compiled: directory of compiled programs, unless the options name one; a restarted
                server finds there what it compiled before.
        """
        admin = Member("admin", ["admin"], self._environ(), port=self.port)
        port = self.ports[-1] if self.ports else _free_port(self.host)
        flags = [f"--sax_cell={self.cell}", f"--port={port}", f"--servable={self.servable_file}"]
        flags.append(f"--jax_cache_dir={self.cache_dir or compiled}")
        server = Member("model-server", ["model-server", *flags], self._environ())
        return [*([] if self.server_only else [admin]), *([] if self.admin_only else [server])]

    def _environ(self) -> dict[str, str]:
        return {
            "SAX_ROOT": self.sax_root,
            "SAX_FS_ROOT": self.fs_root,
            "SAX_CELL": str(self.cell),
            "SAXFLOW_VM_ADDRESS": self.host,
        }


def serve(options: UpOptions, ready: Callable[[dict[str, object]], None]) -> None:
    """Run the cell until SIGINT or SIGTERM.

    Args:
        ready: called once, with what the command prints.

    Raises:
        InputError: the model cannot be loaded; the reason is the server's own.
        ConfigurationError: a port is taken.
        DeadlineError: the cell did not become ready.
        SaxError: with --server-only, the model's name is taken by another checkpoint.
    """
    _check_ports(options)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="saxflow-jax-") as compiled,
        Supervisor(options.members(compiled)) as supervisor,
        Cell.open(options.sax_root, str(options.cell)) as cell,
    ):
        waiting = _Waiting(cell, supervisor, ended, sole=not options.server_only)
        waiting.until_joined(servers=0 if options.admin_only else 1)
        if options.model is not None and not ended.is_set():
            _publish(cell, options)
            waiting.until_loaded(str(options.model))
        if not ended.is_set():
            ready({**_report(cell, options), "seconds": round(time.monotonic() - began, 3)})
        ended.wait()


@dataclass(frozen=True)
class _Waiting:
    """Waits for a stage of the cell.

    Args:
        sole: the admin is ours too, and no other server is about to join it.
    """

    cell: Cell
    supervisor: Supervisor
    ended: threading.Event
    sole: bool

    def until_joined(self, servers: int) -> None:
        """Wait until the admin answers and counts enough servers."""
        self._until(lambda: self._joined() >= servers, "the cell to form", READY_SECONDS)

    def until_loaded(self, model_id: str) -> None:
        """Wait until a server holds the model."""
        self._until(lambda: self._loaded(model_id), f"{model_id} to load", LOAD_SECONDS)

    def _until(self, done: Callable[[], bool], what: str, deadline_seconds: float) -> None:
        deadline = time.monotonic() + deadline_seconds
        while not self.ended.is_set() and not done():
            if name := self.supervisor.failed():
                raise InputError(f"{name} dies again and again; its log says why")
            if time.monotonic() > deadline:
                raise DeadlineError(f"waited {deadline_seconds:g} s for {what}")
            self.ended.wait(_POLL_SECONDS)

    def _joined(self) -> int:
        try:
            return sum(stat.replicas for stat in self.cell.stats(deadline_seconds=2.0))
        except SaxflowError:
            return -1

    def _check_that_one_is_left(self, model_id: str) -> None:
        """Refuse to wait for ever when the admin's state gave every server to other models."""
        others = [held for held in self.cell.list() if held.model.model_id != model_id]
        servers = sum(stat.replicas for stat in self.cell.stats())
        if 0 < servers <= sum(len(held.addresses) for held in others):
            taken = ", ".join(held.model.model_id for held in others if held.addresses)
            raise BusyError(
                f"no server is left for {model_id}: {taken}, published before, took all {servers};"
                " give --model that name, or another --sax-root, or add a server with --server-only"
            )

    def _loaded(self, model_id: str) -> bool:
        try:
            (published,) = self.cell.list(model_id)
            if not published.addresses and self.sole:
                self._check_that_one_is_left(model_id)
            statuses = [
                status
                for address in published.addresses
                for status in self.cell.modelet(address).get_status()
                if status.model_id == model_id
            ]
        except SaxError as error:
            if error.code != "UNAVAILABLE":
                raise
            return False
        for status in statuses:
            if status.status == "FAILED":
                raise InputError(f"{model_id} failed to load: {status.failure_reason}")
        return any(status.status == "LOADED" for status in statuses)


def _publish(cell: Cell, options: UpOptions) -> None:
    """Publish the model, in place of what this admin's state says of an earlier run.

    One that is published just so already is left alone.
    """
    model = Model(str(options.model), options.servable.model_path, options.checkpoint)
    try:
        cell.publish(model)
    except SaxError as error:
        if error.code != "ALREADY_EXISTS":
            raise
        (held,) = cell.list(model.model_id)
        if held.model.checkpoint == model.checkpoint:
            return
        if options.server_only:  # others may be using it
            raise SaxError(
                f"{model.model_id} is published with {held.model.checkpoint}; choose another"
                f" --model, or first: saxflow sax unpublish {model.model_id}"
                f" --sax-root {options.sax_root}",
                code=error.code,
            ) from error
        cell.unpublish(model.model_id)
        cell.publish(model)


def _report(cell: Cell, options: UpOptions) -> dict[str, object]:
    name = str(options.model) if options.model else None
    servers = list(cell.list(name)[0].addresses) if name else []
    return {
        "cell": str(options.cell),
        "sax_root": options.sax_root,
        "fs_root": options.fs_root,
        "admin": SaxRoot(options.sax_root).location(options.cell),
        "servers": servers,
        "model": name,
        "checkpoint": options.checkpoint if name else None,
    }


def _check_step(checkpoint: str) -> None:
    """Refuse what could never load, before the admin writes it down."""
    if not _STEP.fullmatch(checkpoint.rstrip("/").rpartition("/")[2]):
        raise InputError(
            f"checkpoint {checkpoint} is no step directory; give checkpoint_00000000 in the DST"
            " of `saxflow convert`"
        )
    local = checkpoint.removeprefix("file://")
    if "://" not in local and not Path(local).is_dir():
        raise NotFoundError(f"checkpoint {checkpoint} does not exist; make it: saxflow convert")


def _check_ports(options: UpOptions) -> None:
    """Refuse ports that somebody else holds, as the members would, but at once."""
    for port in options.ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((options.host, port))
            except OSError as error:
                raise ConfigurationError(
                    f"port {port} of {options.host} cannot be used ({error.strerror}); choose"
                    " another with --port"
                ) from error


def _free_port(host: str) -> int:
    """Return a port for the model server, which must be the same after a restart."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _absolute(path: str) -> str:
    """Return a local path in full, a URI as it is."""
    return path.rstrip("/") if "://" in path else str(Path(path).absolute())
