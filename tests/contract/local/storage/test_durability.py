"""What was acknowledged survives restarts, torn writes and kill -9."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import requests

from .servers import Cloud, ServerProcess, names


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    bucket = first.client.create_bucket("buck")
    for n in range(5):
        bucket.blob(f"o{n}").upload_from_string(str(n))
    bucket.blob("o1").delete()
    bucket.blob("o2").upload_from_string("new")
    before = {blob.name: (blob.generation, blob.crc32c) for blob in bucket.list_blobs()}
    first.close()
    with open(tmp_path / "buck" / "journal.jsonl", "ab") as journal:
        journal.write(b'{"put": {"torn')
    (tmp_path / "buck" / "data" / "orphan").write_bytes(b"left by a crash")
    second = Cloud(tmp_path)
    bucket = second.client.bucket("buck")
    assert {blob.name: (blob.generation, blob.crc32c) for blob in bucket.list_blobs()} == before
    assert bucket.blob("o2").download_as_bytes() == b"new"
    bucket.blob("o9").upload_from_string(b"more")
    assert bucket.get_blob("o9").generation > max(generation for generation, _ in before.values())
    assert not (tmp_path / "buck" / "data" / "orphan").exists()
    second.close()


def test_a_killed_server_loses_nothing_acknowledged(
    tmp_path: Path, server_process: ServerProcess, eventually: Callable[..., None]
) -> None:
    url = server_process.url
    acknowledged: list[str] = []

    def write() -> None:
        with requests.Session() as session:
            session.post(f"{url}/storage/v1/b", json={"name": "buck"}, timeout=60)
            for n in range(100_000):
                query = f"uploadType=media&name=o{n}"
                try:
                    session.post(
                        f"{url}/upload/storage/v1/b/buck/o?{query}", data=str(n), timeout=60
                    )
                except requests.RequestException:
                    return
                acknowledged.append(f"o{n}")

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: len(acknowledged) >= 100)
    server_process.process.kill()
    server_process.process.wait()
    writer.join()
    cloud = Cloud(tmp_path)
    bucket = cloud.client.bucket("buck")
    found = set(names(bucket.list_blobs()))
    assert set(acknowledged) <= found <= {*acknowledged, f"o{len(acknowledged)}"}
    last = acknowledged[-1]
    assert bucket.blob(last).download_as_bytes() == last[1:].encode()
    cloud.close()


def test_a_server_killed_among_overwrites_and_deletions_keeps_every_object_whole(
    tmp_path: Path, server_process: ServerProcess, eventually: Callable[..., None]
) -> None:
    root = server_process.url
    sent: dict[str, str | None] = {}
    acknowledged: dict[str, str | None] = {}
    answers: list[int] = []

    def change(name: str) -> None:
        with requests.Session() as session:
            for n in range(100_000):
                data = None if n % 3 == 2 else f"{n}" * 1000
                sent[name] = data
                try:
                    if data is None:
                        reply = session.delete(f"{root}/buck/{name}", timeout=60)
                    else:
                        reply = session.put(f"{root}/buck/{name}", data=data, timeout=60)
                except requests.RequestException:
                    return
                acknowledged[name] = data
                answers.append(reply.status_code)

    with requests.Session() as session:
        session.post(f"{root}/storage/v1/b", json={"name": "buck"}, timeout=60)
    writers = [threading.Thread(target=change, args=(f"o{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(answers) >= 400)
    server_process.process.kill()
    server_process.process.wait()
    for writer in writers:
        writer.join()
    assert set(answers) == {200, 204}
    cloud = Cloud(tmp_path)
    bucket = cloud.client.bucket("buck")
    found = {name: bucket.get_blob(name) for name in sent}
    data = {name: blob and blob.download_as_text() for name, blob in found.items()}
    for name, text in data.items():
        assert text in (acknowledged[name], sent[name])
    live = [text for text in data.values() if text is not None]
    assert len(list((tmp_path / "buck" / "data").iterdir())) == len(live)
    cloud.close()
