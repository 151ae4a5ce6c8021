"""The socket by which a VM's shims reach the VM, as `docker` reaches its daemon."""

from __future__ import annotations

import logging
import os
import shlex
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from saxflow.errors import InputError
from saxflow.local.vm.commands import Reply

SHIM = Path(__file__).with_name("shim.py")
SOCKET = "control.sock"
Program = Callable[[list[str], str], Reply]
_LOG = logging.getLogger(__name__)


class ControlServer(socketserver.ThreadingUnixStreamServer):
    """Answer the shims of one VM.

    The process moves into the socket's directory: the path of a Unix socket may not exceed 107
    bytes, the path of a data directory may.

    Args:
        directory: where the socket goes.
        programs: name of a program -> what carries it out.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, directory: Path, programs: Mapping[str, Program]) -> None:
        self.programs = dict(programs)
        (directory / SOCKET).unlink(missing_ok=True)
        os.chdir(directory)
        super().__init__(SOCKET, _Call)

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log a call whose caller went away; the VM goes on."""
        _LOG.exception("a control call failed")


class _Call(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if not isinstance(self.server, ControlServer):
            raise InputError("a control call reached a foreign server")
        words, stdin = read_request(self.rfile.read())
        reply = self.server.programs[words[0]](words[1:], stdin)
        self.wfile.write(answer_bytes(reply))


def read_request(data: bytes) -> tuple[list[str], str]:
    """Take apart what the shim sent: the words of the command line, and standard input."""
    count, _, rest = data.partition(b"\0")
    *words, stdin = rest.split(b"\0", int(count))
    return [os.fsdecode(word) for word in words], stdin.decode(errors="replace")


def answer_bytes(reply: Reply) -> bytes:
    """Put together what the shim reads."""
    stdout = os.fsencode(reply.stdout)
    return b"%d %d\n" % (reply.code, len(stdout)) + stdout + os.fsencode(reply.stderr)


def write_shims(directory: Path, programs: list[str]) -> None:
    """Write the programs that go first on the VM's PATH, and `python3`, this very interpreter."""
    directory.mkdir(parents=True, exist_ok=True)
    python = shlex.quote(sys.executable)
    shim = shlex.quote(str(SHIM))
    for program in programs:
        _write(directory / program, f'exec {python} -I -S {shim} {program} "$@"')
    _write(directory / "python3", f'exec {python} "$@"')


def _write(file: Path, command: str) -> None:
    file.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    file.chmod(0o755)
