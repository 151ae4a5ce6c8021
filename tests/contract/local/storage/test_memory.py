"""A large upload is never held whole."""

from __future__ import annotations

from pathlib import Path

import requests

from .servers import ServerProcess


def test_memory_stays_bounded(server_process: ServerProcess) -> None:
    url, piece = server_process.url, b"x" * (1 << 20)
    with requests.Session() as session:
        session.post(f"{url}/storage/v1/b", json={"name": "buck"}, timeout=60)
        target = f"{url}/upload/storage/v1/b/buck/o?uploadType=media&name=big"
        reply = session.post(target, data=(piece for _ in range(256)), timeout=60)
        assert reply.json()["size"] == str(256 << 20)
    status = Path(f"/proc/{server_process.process.pid}/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    assert peak_kib < 80 * 1024
