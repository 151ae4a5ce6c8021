"""TPU workers that are no process tree.

Where a startup script would have brought up SAX, the cell's own admin and model server run on one
event loop of this process, with a model that answers the golden prompt at once.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc.aio

from saxflow.cell.admin import Admin
from saxflow.cell.files import StateFile, announce, cell_directory, create_cell
from saxflow.cell.joining import stay_joined
from saxflow.cell.modelet import Modelet
from saxflow.cell.processes import ServerOptions, server_spec
from saxflow.errors import SaxflowError
from saxflow.gcp.objects import Objects, Uri
from saxflow.sax import messages as m
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable

GOLDEN_ANSWER = " It shows ships where the land is."


class Answering:
    """A loaded model that knows one answer."""

    async def generate(self, request: m.GenerateRequest) -> m.GenerateResponse:
        """Answer the golden prompt."""
        del request
        return m.GenerateResponse(texts=[m.DecodedText(text=GOLDEN_ANSWER, score=-1.0)])


class Loading:
    """Loads at once."""

    streams = False

    def load(self, request: m.LoadRequest) -> Any:
        """Return the model."""
        del request
        return Answering()

    def unload(self) -> None:
        """Give it up."""


class Cells:
    """The event loop on which all cells live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, config: Mapping[str, Any], address: str) -> Any:
        """Bring up the cell of a worker; cancel what is returned to end it."""
        return asyncio.run_coroutine_threadsafe(_cell(config, address), self.loop)

    def stop(self) -> None:
        """End the loop, once every cell has ended."""
        asyncio.run_coroutine_threadsafe(_ended(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _ended() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _insist(act: Callable[[], Any]) -> Any:
    """Repeat what a startup script and a supervisor would repeat."""
    while True:
        try:
            return await asyncio.to_thread(act)
        except SaxflowError:
            await asyncio.sleep(0.2)


async def _cell(config: Mapping[str, Any], address: str) -> None:
    cell = CellName.parse(config["cell"])
    root, fs_root = config["sax_root"], config["fs_root"]
    await _insist(lambda: create_cell(root, cell, fs_root))
    directory = cell_directory(fs_root, cell)
    await _insist(directory.create)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    here = f"{address}:{server.add_insecure_port(f'{address}:0')}"
    admin = await _insist(lambda: Admin(cell, here, StateFile(directory)))
    behaviors = {**admin.behaviors(), **Modelet(Loading()).behaviors()}
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    await server.start()
    tasks = [asyncio.create_task(admin.run())]
    try:
        await _insist(lambda: announce(root, cell, here))
        tasks.append(asyncio.create_task(stay_joined(root, cell, _join(config, here))))
        await _insist(lambda: _report(config))
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(None)


def _join(config: Mapping[str, Any], address: str) -> m.JoinRequest:
    dims = dict.fromkeys(
        ("layers", "heads", "kv_heads", "head_dim", "model_dim", "hidden_dim", "vocab"), 4
    )
    servable = Servable(**dims, tokenizer="ids:", model_path=config["model_path"])
    options = ServerOptions(
        CellName.parse(config["cell"]),
        config["sax_root"],
        "",
        0,
        servable,
        config["chip"],
        config["topology"],
    )
    return m.JoinRequest(address=address, model_server=server_spec(options))


def _report(config: Mapping[str, Any]) -> None:
    said = {
        "worker": 0,
        "state": "ready",
        "boot_id": "boot",
        "epoch": 1,
        "time": datetime.now(UTC).isoformat(),
        "log": "",
    }
    uri = Uri(config["cells_bucket"], f"{config['cell_prefix']}/workers/0.json")
    Objects().write(uri, json.dumps(said).encode(), if_generation=None)


def machine_class(cells: Cells) -> type:
    """Return what stands for `saxflow.local.vm.launcher.VirtualMachine`."""

    class Machine:
        def __init__(self, paths: Any, *, address: str, metadata: Mapping[str, str], **_: Any):
            self._address = address
            self._config = json.loads(metadata["instance/attributes/saxflow-config"])
            self._life: Any = None

        @property
        def running(self) -> bool:
            return self._life is not None and not self._life.done()

        def power_on(self) -> None:
            self._life = cells.start(self._config, self._address)

        def power_off(self) -> None:
            if self._life is not None:
                self._life.cancel()

        erase = power_off

    return Machine
