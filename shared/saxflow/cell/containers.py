"""What the container images of SAX run, as processes: `python -m saxflow.cell.containers ...`.

`admin` reads the environment of SAX's admin image, `model-server` takes the flags of its model
server, so that a startup script written for Cloud TPU starts this cell unchanged.

Source: google/saxml v1.1.0 `tools/docker`, `server/model_service_main.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from saxflow.cell.hosts import Worker, host_count
from saxflow.cell.processes import AdminOptions, ServerOptions, run_admin, run_model_server
from saxflow.errors import ConfigurationError, InputError, SaxflowError
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable

CONFIG_MOUNT = "/etc/saxflow"
SERVABLE_FILE = "servable.json"


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one container until a signal comes; return its exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        kind, *rest = argv or [""]
        if kind == "admin" and not rest:
            asyncio.run(run_admin(admin_options(environ), _ready))
        elif kind == "model-server":
            asyncio.run(run_model_server(server_options(rest, environ), _ready))
        else:
            raise InputError("usage: python -m saxflow.cell.containers admin | model-server FLAGS")
    except SaxflowError as error:
        logging.error("%s", error)
        return error.exit_code
    return 0


def admin_options(environ: Mapping[str, str]) -> AdminOptions:
    """Read the admin image's environment: GSBUCKET (`bucket` or `bucket/prefix`), SAX_CELL, PORT.

    SAX_ROOT and SAX_FS_ROOT, which the image does not know, name roots elsewhere, local ones too.

    Raises:
        ConfigurationError: GSBUCKET is missing or PORT is no number.
        InputError: SAX_CELL is no cell name.
    """
    bucket = environ.get("GSBUCKET", "")
    sax_root, fs_root = environ.get("SAX_ROOT", ""), environ.get("SAX_FS_ROOT", "")
    if not bucket and not (sax_root and fs_root):
        raise ConfigurationError("GSBUCKET is not set; give it the bucket that holds sax-root")
    return AdminOptions(
        cell=CellName.parse(environ.get("SAX_CELL", "/sax/test")),
        sax_root=sax_root or f"gs://{bucket}/sax-root",
        fs_root=fs_root or f"gs://{bucket}/sax-fs-root",
        host=_host(environ),
        port=_number("PORT", environ.get("PORT", "10000")),
    )


def server_options(argv: Sequence[str], environ: Mapping[str, str]) -> ServerOptions:
    """Read the model server's flags, SAX_ROOT and the mounted servable.json.

    Raises:
        ConfigurationError: SAX_ROOT or servable.json is missing.
        InputError: a flag or servable.json cannot be read.
    """
    flags = _server_parser().parse_args(argv)
    sax_root = environ.get("SAX_ROOT", "")
    if not sax_root:
        raise ConfigurationError("SAX_ROOT is not set; give it the cell's sax-root")
    return ServerOptions(
        cell=CellName.parse(flags.sax_cell),
        sax_root=sax_root,
        host=_host(environ),
        port=flags.port,
        servable=read_servable(flags.servable or _mounted(CONFIG_MOUNT, environ) / SERVABLE_FILE),
        chip=flags.platform_chip,
        topology=flags.platform_topology,
        cache_dir=flags.jax_cache_dir,
        worker=Worker(
            flags.host_ordinal,
            flags.host_count or host_count(flags.platform_chip, flags.platform_topology),
        ),
    )


def read_servable(path: Path) -> Servable:
    """Read a servable.json.

    Raises:
        ConfigurationError: there is no such file.
        InputError: it is not a servable.
    """
    try:
        return Servable.from_json(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _server_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="model-server", allow_abbrev=False)
    parser.add_argument("--sax_cell", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--platform_chip", default="cpu")
    parser.add_argument("--platform_topology", default="1")
    parser.add_argument("--host_ordinal", type=int, default=0)
    parser.add_argument("--host_count", type=int, help="instead of what the topology says")
    parser.add_argument("--jax_cache_dir")
    parser.add_argument("--servable", type=Path, help=f"instead of {CONFIG_MOUNT}/{SERVABLE_FILE}")
    return parser


def _mounted(path: str, environ: Mapping[str, str]) -> Path:
    """Return where a mount of the container lies on this host."""
    mounts = json.loads(environ.get("SAXFLOW_CONTAINER_MOUNTS", "{}"))
    return Path(mounts.get(path, path))


def _host(environ: Mapping[str, str]) -> str:
    return environ.get("SAXFLOW_VM_ADDRESS") or "127.0.0.1"


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name} is {text!r}; it must be a number") from None


def _ready(address: str) -> None:
    logging.info("serving at %s", address)


if __name__ == "__main__":
    code = main(sys.argv[1:], os.environ)
    logging.shutdown()
    os._exit(code)  # threads inside XLA would hold up, or crash, an orderly end
