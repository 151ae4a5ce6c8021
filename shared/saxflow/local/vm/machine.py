"""What runs in a VM's process: metadata server, docker, systemctl, and the startup script on boot.

Started by `saxflow.local.vm.launcher` as `python -m saxflow.local.vm.machine CONFIG`, below a guard
that ends every process of the VM when the VM ends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from saxflow.local.http import HttpServer
from saxflow.local.images import ImageRegistry
from saxflow.local.replacing import replace_file
from saxflow.local.vm.containers import Engine
from saxflow.local.vm.control import SOCKET, ControlServer, write_shims
from saxflow.local.vm.docker import Docker
from saxflow.local.vm.metadata import MetadataTree
from saxflow.local.vm.units import Systemctl

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
STARTUP_SCRIPT = "instance/attributes/startup-script"
STARTUP_LOG = "var/log/startup-script.log"
BOOT_ID = "proc/sys/kernel/random/boot_id"
HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"


@dataclass(frozen=True)
class MachineConfig:
    """Everything a VM's process is told.

    Args:
        address: its own loopback address.
        root: what its scripts see as `$SAXFLOW_VM_ROOT`.
        host: the hypervisor's side: records, shims, socket, guest attributes.
        metadata: path below `/computeMetadata/v1/` -> text.
        images: image registry file.
        container_env: environment of every container, before the container's own.
    """

    address: str
    root: str
    host: str
    metadata: dict[str, str]
    images: str
    container_env: dict[str, str]

    @classmethod
    def load(cls, path: Path) -> MachineConfig:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Write it where only the owner may read it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(asdict(self)), mode=0o600)


def prepare_root(root: Path) -> None:
    """Lay out what a script expects to find below `/`, with a boot id of this boot."""
    for directory in ("etc/systemd/system", "tmp", "var/lib", "var/log"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    for file, text in ((BOOT_ID, f"{uuid.uuid4()}\n"), (HUGE_PAGES, "madvise\n")):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="ascii")


def script_environment(config: MachineConfig, metadata_host: str) -> dict[str, str]:
    """Return the bare environment that a startup script gets."""
    host = Path(config.host)
    return {
        "PATH": f"{host / 'bin'}:{SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "SAXFLOW_VM_ROOT": config.root,
        "SAXFLOW_VM_CONTROL": str(host / SOCKET),
        "GCE_METADATA_HOST": metadata_host,
    }


def boot(config: MachineConfig) -> None:
    """Bring the VM up and start its startup script."""
    root, host = Path(config.root), Path(config.host)
    prepare_root(root)
    tree = MetadataTree(config.metadata, host / "guest-attributes")
    metadata = HttpServer(tree.handle, host=config.address)
    metadata.start()
    metadata_host = f"{config.address}:{metadata.port}"
    env = script_environment(config, metadata_host)
    container_env = {
        **config.container_env,
        "SAXFLOW_VM_ADDRESS": config.address,
        "GCE_METADATA_HOST": metadata_host,
    }
    registry = Path(config.images)
    engine = Engine(host / "containers", lambda: ImageRegistry.load(registry), container_env)
    systemctl = Systemctl(root, env)
    programs = {"docker": Docker(engine), "systemctl": systemctl}
    write_shims(host / "bin", list(programs))
    ControlServer(host, programs).start()
    engine.boot()
    systemctl.boot()
    run_startup_script(config, env)


def run_startup_script(config: MachineConfig, env: Mapping[str, str]) -> None:
    """Start the node's `startup-script`, as the guest agent does on every boot; do not wait."""
    text = config.metadata.get(STARTUP_SCRIPT)
    if text is None:
        return
    script = Path(config.host) / "startup-script"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o700)
    command = [str(script)] if text.startswith("#!") else ["/bin/bash", str(script)]
    with (Path(config.root) / STARTUP_LOG).open("ab") as log:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(env), cwd="/"
        )


def main(argv: list[str]) -> None:
    """Boot the VM that the configuration file describes and run until the guard ends it."""
    os.umask(0o077)
    logging.basicConfig(level=logging.WARNING)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    boot(MachineConfig.load(Path(argv[0])))
    while True:
        signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])
