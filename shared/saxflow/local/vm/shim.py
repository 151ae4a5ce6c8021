"""What a VM's `docker` and `systemctl` run: hand the command line to the VM, print its answer.

A startup script calls it often, so it must start fast: `python -I -S`, no package, and of the
standard library neither `socket` nor `json`, which would double its processor time.

    request     <number of words> NUL word NUL ... word NUL standard input
    answer      <exit code> <bytes of standard output> LF standard output, standard error
"""

from __future__ import annotations

import _socket
import os
import sys


def main(argv: list[str]) -> int:
    """Send `[program, *arguments]` to the VM and return the exit code it answers."""
    stdin = sys.stdin.buffer.read() if {"--password-stdin", "-i"} & set(argv) else b""
    words = [str(len(argv)), *argv]
    request = b"".join(os.fsencode(word) + b"\0" for word in words) + stdin
    head, _, body = _exchange(os.environ["SAXFLOW_VM_CONTROL"], request).partition(b"\n")
    if not head:
        _write(2, f"{argv[0]}: the VM gave no answer; why is in its machine.log\n".encode())
        return 1
    code, length = map(int, head.split())
    _write(1, body[:length])
    _write(2, body[length:])
    return code


def _exchange(path: str, request: bytes) -> bytes:
    directory, name = os.path.split(path)
    here = os.getcwd()
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    os.chdir(directory)  # the path of a Unix socket may be too long
    connection.connect(name)
    os.chdir(here)
    connection.sendall(request)
    connection.shutdown(_socket.SHUT_WR)
    answer = b""
    while piece := connection.recv(1 << 16):
        answer += piece
    connection.close()
    return answer


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
