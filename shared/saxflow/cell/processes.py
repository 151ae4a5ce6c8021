"""Run an admin or a model server as a process: socket, signals, location.

Source: google/saxml v1.1.0 `admin/admin.go` (Start), `server/model_service_main.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from saxflow.cell.admin import Admin
from saxflow.cell.files import StateFile, announce, cell_directory, create_cell
from saxflow.cell.hosts import ALONE, LEADER_FILE, Worker
from saxflow.cell.joining import stay_joined
from saxflow.cell.loader import ModelLoader
from saxflow.cell.modelet import Modelet
from saxflow.errors import ConfigurationError, InputError, TransientError
from saxflow.sax import messages as m
from saxflow.sax.handlers import Behavior, generic_handlers
from saxflow.sax.methods import Method
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable

if TYPE_CHECKING:
    from saxflow.cell.leading import Group

_log = logging.getLogger(__name__)
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)
_CHIPS = {
    "cpu": "CHIP_TYPE_CPU",
    "tpuv2": "CHIP_TYPE_TPU_V2",
    "tpuv3": "CHIP_TYPE_TPU_V3",
    "tpuv4": "CHIP_TYPE_TPU_V4",
    "tpuv4i": "CHIP_TYPE_TPU_V4I",
    "tpuv5e": "CHIP_TYPE_TPU_V5E",
    "p100": "CHIP_TYPE_GPU_P100",
    "v100": "CHIP_TYPE_GPU_V100",
    "t4": "CHIP_TYPE_GPU_T4",
    "a100": "CHIP_TYPE_GPU_A100",
    "h100": "CHIP_TYPE_GPU_H100",
}


@dataclass(frozen=True)
class AdminOptions:
    """What an admin process is told; roots are paths or gs:// URIs."""

    cell: CellName
    sax_root: str
    fs_root: str
    host: str
    port: int


@dataclass(frozen=True)
class ServerOptions:
    """What a model server process is told.

    Args:
        chip, topology: as SAX's flags write them, for example `tpuv5e` and `4`.
        cache_dir: where compiled programs are kept over restarts.
        worker: which of the server's hosts this is.
    """

    cell: CellName
    sax_root: str
    host: str
    port: int
    servable: Servable
    chip: str = "cpu"
    topology: str = "1"
    cache_dir: str | None = None
    worker: Worker = ALONE


def chip_type(name: str) -> int:
    """Return the number of a chip as SAX's flag names it.

    Raises:
        InputError: there is no such chip.
    """
    if name.lower() not in _CHIPS:
        raise InputError(f"platform_chip {name!r} is unknown; {', '.join(_CHIPS)} are known")
    return m.SAX.enums["ModelServer.ChipType"][_CHIPS[name.lower()]]


def chip_topology(name: str) -> int:
    """Return the number of a topology such as `4` or `2x4`.

    Raises:
        InputError: SAX knows no such topology.
    """
    bare = name.removesuffix("_twisted").removesuffix("_untwisted").upper()
    known = m.SAX.enums["ModelServer.ChipTopology"]
    if bare == "UNKNOWN" or f"CHIP_TOPOLOGY_{bare}" not in known:
        raise InputError(f"platform_topology {name!r} is unknown; write 1, 4, 8, 16 or 4x8")
    return known[f"CHIP_TOPOLOGY_{bare}"]


async def run_admin(options: AdminOptions, ready: Callable[[str], None]) -> None:
    """Serve the Admin service until a signal comes.

    Args:
        ready: called once with the address, when the cell can find it.

    Raises:
        ConfigurationError: the port is taken, or the cell keeps its state elsewhere.
    """
    create_cell(options.sax_root, options.cell, options.fs_root)
    state = cell_directory(options.fs_root, options.cell)
    state.create()
    server, address = _bound(options.host, options.port)
    admin = Admin(options.cell, address, StateFile(state))
    await _start(server, admin.behaviors())
    await asyncio.to_thread(announce, options.sax_root, options.cell, address)
    ready(address)
    await _until_signal(server, admin.run())


async def run_model_server(options: ServerOptions, ready: Callable[[str], None]) -> None:
    """Serve Modelet and LMService until a signal comes, as a member of the cell.

    Raises:
        ConfigurationError: the port is taken.
        InputError: chip or topology is unknown.
        TransientError: another host of the server is gone; all of them must start again.
    """
    spec = server_spec(options)
    server, address = _bound(options.host, options.port)
    if options.worker.ordinal:
        await _until_signal(server, _follow(options))
        return
    group = _group(options)
    loader = ModelLoader(options.servable, cache_dir=options.cache_dir, group=group)
    answered = Modelet(loader).behaviors()
    await _start(server, {**answered, **(group.behaviors() if group else {})})
    threading.Thread(target=loader.warm, name="warm", daemon=True).start()
    ready(address)
    join = m.JoinRequest(address=address, model_server=spec)
    work = stay_joined(options.sax_root, options.cell, join)
    await _until_signal(server, work if group is None else _lead(options, address, group, work))


def _group(options: ServerOptions) -> Group | None:
    if options.worker.count == 1:
        return None
    from saxflow.cell.leading import Group

    return Group(options.worker.count, options.host)


async def _lead(
    options: ServerOptions, address: str, group: Group, work: Coroutine[Any, Any, None]
) -> None:
    """Be found by the followers, join the cell once all are here, end when one is lost."""
    directory = cell_directory(options.sax_root, options.cell)
    await asyncio.to_thread(directory.create)
    body = json.dumps({"address": address}).encode()
    await asyncio.to_thread(directory.write, LEADER_FILE, body)
    await group.until_formed()
    joining = asyncio.ensure_future(work)
    try:
        await group.until_lost()
    finally:
        joining.cancel()
    raise TransientError("another worker is gone; all model servers must start again together")


async def _follow(options: ServerOptions) -> None:
    from saxflow.cell.following import follow

    await follow(options.sax_root, options.cell, options.worker, options.servable)
    raise TransientError("worker 0 is gone; all model servers must start again together")


def server_spec(options: ServerOptions) -> m.ModelServer:
    """Return what a server says of itself when it joins.

    The last path is new in every process: an admin takes a restarted server with an unchanged spec
    for the one it knew, and would never load its model again.
    """
    incarnation = f"saxflow.incarnation.{secrets.token_hex(8)}"
    return m.ModelServer(
        chip_type=chip_type(options.chip),
        chip_topology=chip_topology(options.topology),
        servable_model_paths=[options.servable.model_path, incarnation],
    )


def _bound(host: str, port: int) -> tuple[grpc.aio.Server, str]:
    """Return a server that does not answer yet, and its address; port 0 takes a free one."""
    server = grpc.aio.server(options=_OPTIONS)
    try:
        port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise ConfigurationError(
            f"port {port} of {host} cannot be bound; choose another with --port ({error})"
        ) from error
    return server, f"{host}:{port}"


async def _start(server: grpc.aio.Server, behaviors: Mapping[Method[Any, Any], Behavior]) -> None:
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    await server.start()


async def _until_signal(server: grpc.aio.Server, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until SIGTERM or SIGINT or its supervisor's death, then stop the server."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    supervisor = os.environ.get("SAXFLOW_CELL_PARENT")
    orphaned = asyncio.create_task(_cancel_when_orphaned(task, int(supervisor or 0)))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        _log.info("stopping")
    finally:
        orphaned.cancel()
        await server.stop(0.5)


async def _cancel_when_orphaned(task: asyncio.Future[None], supervisor: int) -> None:
    while supervisor and os.getppid() == supervisor:
        await asyncio.sleep(1.0)
    if supervisor:
        task.cancel()
