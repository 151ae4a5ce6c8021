"""Directories in Cloud Storage: a bucket and a prefix, read by ranges, objects created once."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

from saxflow.checkpoint.cloud_http import StorageHttp
from saxflow.checkpoint.digest import crc32c as digest
from saxflow.checkpoint.directory import Buffer, Entry, crc32c_text
from saxflow.errors import CloudError, IntegrityError, NotFoundError, WeightsError
from saxflow.gcp.objects import Uri

FIELDS = "nextPageToken,items(name,size,crc32c,md5Hash,generation,updated,metadata)"
ORIGIN = "saxflow-fingerprint"
"""Key of the custom metadata that tells which conversion created an object."""
JSON_TYPE = "application/json"
"""Of progress and records: a Workflow decodes what says so, and only that."""
BYTES_TYPE = "application/octet-stream"


class CloudDirectory:
    """Objects below `gs://bucket/prefix`; safe to use from several threads.

    Reads are pinned to the generation that `entries` saw last, so a file that is replaced meanwhile
    is noticed instead of being mixed with its successor.
    """

    def __init__(self, uri: str, http: StorageHttp | None = None) -> None:
        parsed = Uri.parse(uri)
        self._bucket = parsed.bucket
        self._prefix = f"{parsed.name.rstrip('/')}/" if parsed.name.rstrip("/") else ""
        self._http = http or StorageHttp()
        self._generations: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        return f"gs://{self._bucket}/{self._prefix}".rstrip("/")

    def entries(self, prefix: str = "", *, recursive: bool = True) -> dict[str, Entry]:
        found = dict(self._list(prefix, recursive))
        with self._lock:
            self._generations |= {name: entry.generation or "" for name, entry in found.items()}
        return found

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        if size is None:
            size = self._stat(name).size_bytes - start
        buffer = bytearray(max(size, 0))
        with memoryview(buffer) as view, self._missing(name):
            count = self._read(name, start, view)
        return bytes(buffer[:count])

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        with self._missing(name):
            count = self._read(name, start, buffer)
        if count < len(buffer):
            raise IntegrityError(
                f"{self._name(name)} ends at byte {start + count};"
                f" {len(buffer) - count} more were expected"
            )

    def create(self, name: str, data: Sequence[Buffer], crc32c: int, *, origin: str = "") -> None:
        if self._upload(name, data, crc32c, create_only=True, origin=origin):
            return
        existing = self._stat(name)
        size = sum(memoryview(piece).nbytes for piece in data)
        if (existing.size_bytes, existing.crc32c) != (size, crc32c_text(crc32c)):
            raise IntegrityError(
                f"{self._name(name)} exists with other content ({existing.size_bytes} bytes, crc32c"
                f" {existing.crc32c}; {size} bytes, {crc32c_text(crc32c)} were to be written);"
                " delete it and repeat"
            )

    def overwrite(self, name: str, data: bytes) -> None:
        self._upload(name, [data], digest(data), create_only=False)

    def delete(self, name: str, *, generation: str | None = None) -> None:
        query = {"ifGenerationMatch": generation} if generation else {}
        self._http.delete(self._path(name), query, f"delete {self._name(name)}")
        self._unpin(name)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _list(self, prefix: str, recursive: bool) -> Iterator[tuple[str, Entry]]:
        path = f"/storage/v1/b/{quote(self._bucket, safe='')}/o"
        query = {"prefix": self._prefix + prefix, "fields": FIELDS, "maxResults": "1000"}
        if not recursive:
            query["delimiter"] = "/"
        while True:
            page = self._listing(path, query)
            for item in page.get("items", ()):
                name = str(item["name"]).removeprefix(self._prefix)
                if name and not name.endswith("/"):
                    yield name, _entry(item)
            token = page.get("nextPageToken")
            if not token:
                return
            query["pageToken"] = token

    def _listing(self, path: str, query: dict[str, str]) -> dict[str, Any]:
        with self._bucket_needed():
            return self._http.get_json(path, query, f"list {self.uri}")

    def _read(self, name: str, start: int, buffer: memoryview) -> int:
        with self._lock:
            generation = self._generations.get(name)
        query = {"generation": generation} if generation else {}
        path = f"/download{self._path(name)}"
        return self._http.read_into(path, query, start, buffer, f"read {self._name(name)}")

    def _stat(self, name: str) -> Entry:
        with self._missing(name):
            item = self._http.get_json(self._path(name), {}, f"stat {self._name(name)}")
        return _entry(item)

    def _upload(
        self,
        name: str,
        data: Sequence[Buffer],
        crc32c: int,
        *,
        create_only: bool,
        origin: str = "",
    ) -> bool:
        metadata = {
            "name": self._prefix + name,
            "crc32c": crc32c_text(crc32c),
            "contentType": JSON_TYPE if name.endswith(".json") else BYTES_TYPE,
            "metadata": {ORIGIN: origin} if origin else {},
        }
        what = f"write {self._name(name)}"
        with self._bucket_needed():
            created = self._http.upload(self._bucket, metadata, data, what, create_only=create_only)
        self._unpin(name)
        return created

    def _unpin(self, name: str) -> None:
        """Forget a listed generation that this directory itself has replaced."""
        with self._lock:
            self._generations.pop(name, None)

    @contextmanager
    def _bucket_needed(self) -> Generator[None]:
        """Name the bucket when it is what a listing or an upload did not find."""
        try:
            yield
        except CloudError as error:
            if error.code != 404:
                raise
            raise NotFoundError(
                f"bucket gs://{self._bucket} does not exist; create it or correct the name"
            ) from error

    @contextmanager
    def _missing(self, name: str) -> Generator[None]:
        try:
            yield
        except CloudError as error:
            if error.code != 404:
                raise
            with self._lock:
                pinned = self._generations.get(name)
            if pinned:
                raise WeightsError(
                    f"{self._name(name)} changed or was deleted while it was being read"
                    f" (generation {pinned} is gone); repeat once it no longer changes"
                ) from error
            raise NotFoundError(f"{self._name(name)} does not exist") from error

    def _path(self, name: str) -> str:
        bucket, name = quote(self._bucket, safe=""), quote(self._prefix + name, safe="")
        return f"/storage/v1/b/{bucket}/o/{name}"

    def _name(self, name: str) -> str:
        return f"gs://{self._bucket}/{self._prefix}{name}"


def _entry(item: dict[str, Any]) -> Entry:
    return Entry(
        int(item["size"]),
        item.get("crc32c"),
        item.get("md5Hash"),
        str(item["generation"]),
        item.get("updated", ""),
        str(item.get("metadata", {}).get(ORIGIN, "")),
    )
