"""What a VM's `docker` and `systemctl` run: hand the command line to the VM, print its answer.

Only the standard library is imported and no package: the shim runs with `python -I -S`, because a
startup script calls it often.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main(argv: list[str]) -> int:
    """Send `[program, *arguments]` to the VM and return the exit code it answers."""
    stdin = sys.stdin.read() if {"--password-stdin", "-i"} & set(argv) else ""
    directory, name = os.path.split(os.environ["SAXFLOW_VM_CONTROL"])
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as connection:
        os.chdir(directory)
        connection.connect(name)
        os.chdir(here)
        request = {"program": argv[0], "argv": argv[1:], "stdin": stdin}
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            reply = json.load(answer)
    sys.stdout.write(reply["stdout"])
    sys.stderr.write(reply["stderr"])
    return int(reply["code"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
