"""Power on, reset and delete VMs; what the TPU service holds of each worker."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from saxflow.errors import ConfigurationError
from saxflow.local.vm.machine import MachineConfig
from saxflow.local.vm.processes import GuardedProcess

CLAIM_PORT = 8646
_FIRST_WORKER = 10


class AddressClaim:
    """Loopback addresses that belong to the workers of one node while this object is open.

    The claim is a bound socket on each address, so that two embedded clouds on one machine never
    hand out the same address, and a dead one leaves nothing to clean up.
    """

    def __init__(self, workers: int) -> None:
        for subnet in range(1, 255):
            sockets = _bind_all(f"127.0.{subnet}.{_FIRST_WORKER + i}" for i in range(workers))
            if sockets is not None:
                self._sockets = sockets
                return
        raise ConfigurationError(
            f"no {workers} free loopback addresses within 127.0.1.0 to 127.0.254.255: port"
            f" {CLAIM_PORT} is bound on all; delete TPU nodes, or stop another embedded cloud"
        )

    @property
    def addresses(self) -> list[str]:
        """Address of each worker, in their order."""
        return [s.getsockname()[0] for s in self._sockets]

    def close(self) -> None:
        """Give the addresses back."""
        for claimed in self._sockets:
            claimed.close()


def _bind_all(addresses: Iterator[str]) -> list[socket.socket] | None:
    bound: list[socket.socket] = []
    for address in addresses:
        claimed = socket.socket()
        bound.append(claimed)
        try:
            claimed.bind((address, CLAIM_PORT))
        except OSError as error:
            for other in bound:
                other.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return None
    return bound


@dataclass(frozen=True)
class VmPaths:
    """Directories of one worker below the directory of all VMs."""

    node_directory: Path
    worker: int

    @property
    def root(self) -> Path:
        """What the worker's scripts see as `$SAXFLOW_VM_ROOT`."""
        return self.node_directory / f"worker-{self.worker}"

    @property
    def host(self) -> Path:
        """The hypervisor's side of the worker."""
        return self.node_directory / ".host" / f"worker-{self.worker}"


class VirtualMachine:
    """One worker's VM; once erased it cannot be powered on again.

    Args:
        paths: its directories.
        address: its loopback address.
        metadata: path below `/computeMetadata/v1/` -> text.
        images: image registry file.
        container_env: environment of every container.
    """

    def __init__(
        self,
        paths: VmPaths,
        *,
        address: str,
        metadata: Mapping[str, str],
        images: Path,
        container_env: Mapping[str, str],
    ) -> None:
        self.paths = paths
        self._power = threading.RLock()
        self._erased = False
        self._process: GuardedProcess | None = None
        self._config = MachineConfig(
            address=address,
            root=str(paths.root),
            host=str(paths.host),
            metadata=dict(metadata),
            images=str(images),
            container_env=dict(container_env),
        )

    @property
    def running(self) -> bool:
        """Whether the VM is up."""
        return self._process is not None and self._process.running()

    def power_on(self) -> None:
        """Boot, unless it is up or erased; the startup script runs within half a second."""
        with self._power:
            if self._erased or self.running:
                return
            file = self.paths.host / "machine.json"
            self._config.save(file)
            self._process = GuardedProcess(
                [sys.executable, "-m", "saxflow.local.vm.machine", str(file)],
                env=_machine_environment(),
                output=self.paths.host / "machine.log",
            )

    def power_off(self) -> None:
        """End every process of the VM at once; its disk stays."""
        with self._power:
            if self._process is not None:
                self._process.kill()

    def reset(self) -> None:
        """Reboot it the hard way."""
        with self._power:
            self.power_off()
            self.power_on()

    def guest_attributes(self, query: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return (namespace, key, value) of what the guest wrote.

        Args:
            query: namespace, or namespace and key; empty for everything.
        """
        directory = self.paths.host / "guest-attributes"
        found: list[tuple[str, str, str]] = []
        for file in sorted(directory.glob("*/*")):
            item = file.parent.name, file.name
            if not file.name.startswith(".") and list(item[: len(query)]) == list(query):
                with suppress(FileNotFoundError):  # the guest deleted it meanwhile
                    found.append((*item, file.read_text(encoding="utf-8")))
        return found

    def erase(self) -> None:
        """End it for good and remove its disk."""
        with self._power:
            self._erased = True
            self.power_off()
            shutil.rmtree(self.paths.root, ignore_errors=True)
            shutil.rmtree(self.paths.host, ignore_errors=True)


def _machine_environment() -> dict[str, str]:
    keep = ("HOME", "LANG", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")
    return {name: os.environ[name] for name in keep if name in os.environ}
