"""Small objects in Cloud Storage: read, create once, compare and swap, list.

Bulk transfer of weights is elsewhere (`saxflow.checkpoint`); this is the control plane, where every
write carries a generation precondition, so that two writers can never both win.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from saxflow.errors import CloudError, InputError, IntegrityError, NotFoundError
from saxflow.gcp.clients import storage_client
from saxflow.gcp.translate import translated

if TYPE_CHECKING:
    from google.cloud import storage

CALL_TIMEOUT_SECONDS = 30
OVERWRITES_LIMIT = 20
"""Overwrites between looking and reading after which an object changes too fast to be read."""


@dataclass(frozen=True)
class Uri:
    """`gs://bucket/name`, split."""

    bucket: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Split a gs:// URI.

        Raises:
            InputError: it is not of the form gs://bucket[/name].
        """
        scheme, separator, rest = text.partition("://")
        bucket, _, name = rest.partition("/")
        if scheme != "gs" or not separator or not bucket:
            raise InputError(f"{text!r} is not a Cloud Storage URI; write gs://bucket/name")
        return cls(bucket, name)

    def child(self, relative: str) -> Uri:
        """Return the URI of `relative` below this one."""
        return Uri(self.bucket, f"{self.name.rstrip('/')}/{relative}" if self.name else relative)

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name}"


@dataclass(frozen=True)
class Stored:
    """An object as a listing or a read tells it; `data` is only in a read, `updated` in a listing."""

    uri: Uri
    generation: str
    size_bytes: int
    crc32c: str
    data: bytes | None = None
    updated: datetime | None = None


class Objects:
    """Objects of all buckets that one client may reach."""

    def __init__(self, client: storage.Client | None = None) -> None:
        with translated("storage", "open a client"):
            self._client = client or storage_client()

    def read(self, uri: Uri, *, generation: str | None = None) -> Stored:
        """Return the object with its content, at `generation` when given.

        Raises:
            NotFoundError: there is no such object (or no longer that generation).
            CloudError: the service refused or could not be reached.
        """
        if generation is not None:
            return self._download(uri, generation)
        for _ in range(OVERWRITES_LIMIT):
            found = self.stat(uri)
            if found is None:
                raise NotFoundError(f"{uri} does not exist")
            try:
                return self._download(uri, found.generation)
            except NotFoundError:
                continue  # overwritten between the two calls
        raise CloudError(
            f"read {uri}: it was overwritten {OVERWRITES_LIMIT} times meanwhile",
            service="storage",
            retryable=True,
        )

    def _download(self, uri: Uri, generation: str) -> Stored:
        blob = self._client.bucket(uri.bucket).blob(uri.name, generation=int(generation))
        with _missing_as_not_found(uri, generation), translated("storage", f"read {uri}"):
            data = blob.download_as_bytes(timeout=CALL_TIMEOUT_SECONDS)
        return Stored(uri, generation, len(data), blob.crc32c or "", data)

    def read_json(self, uri: Uri, *, generation: str | None = None) -> tuple[dict[str, Any], str]:
        """Return a JSON object and its generation.

        Raises:
            NotFoundError, CloudError: as `read`.
            IntegrityError: the content is not a JSON object.
        """
        stored = self.read(uri, generation=generation)
        try:
            value = json.loads(stored.data or b"")
        except ValueError as error:
            raise IntegrityError(f"{uri} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise IntegrityError(f"{uri} holds {type(value).__name__}; a JSON object was expected")
        return value, stored.generation

    def write(
        self,
        uri: Uri,
        data: bytes,
        *,
        if_generation: str | None,
        content_type: str = "application/json",
    ) -> str | None:
        """Write an object on condition and return its new generation, None when the condition failed.

        Args:
            if_generation: the generation that must be there now; "0" for none; None writes
                unconditionally (only for objects with a single owner that may be overwritten).
        """
        blob = self._client.bucket(uri.bucket).blob(uri.name)
        match = None if if_generation is None else int(if_generation)
        try:
            with translated("storage", f"write {uri}"):
                blob.upload_from_string(
                    data,
                    content_type=content_type,
                    checksum="crc32c",
                    timeout=CALL_TIMEOUT_SECONDS,
                    if_generation_match=match,
                )
        except CloudError as error:
            if error.code == 412:
                return None
            raise
        return str(blob.generation)

    def delete(self, uri: Uri, *, if_generation: str | None = None) -> bool:
        """Delete an object; return whether it was there (and at that generation)."""
        blob = self._client.bucket(uri.bucket).blob(uri.name)
        match = None if if_generation is None else int(if_generation)
        try:
            with translated("storage", f"delete {uri}"):
                blob.delete(timeout=CALL_TIMEOUT_SECONDS, if_generation_match=match)
        except CloudError as error:
            if error.code in (404, 412):
                return False
            raise
        return True

    def stat(self, uri: Uri, *, generation: str | None = None) -> Stored | None:
        """Return the object's facts without its content, None when it does not exist."""
        wanted = int(generation) if generation is not None else None
        blob = self._client.bucket(uri.bucket).blob(uri.name, generation=wanted)
        try:
            with translated("storage", f"stat {uri}"):
                blob.reload(timeout=CALL_TIMEOUT_SECONDS)
        except CloudError as error:
            if error.code == 404:
                return None
            raise
        return Stored(uri, str(blob.generation), int(blob.size or 0), blob.crc32c or "")

    def list(self, prefix: Uri, *, delimiter: str | None = None) -> Iterator[Stored]:
        """Yield every object whose name starts with the prefix, in name order."""
        with translated("storage", f"list {prefix}"):
            for blob in self._client.list_blobs(
                prefix.bucket, prefix=prefix.name, delimiter=delimiter, timeout=CALL_TIMEOUT_SECONDS
            ):
                name = str(blob.name)
                yield Stored(
                    Uri(prefix.bucket, name),
                    str(blob.generation),
                    int(blob.size or 0),
                    blob.crc32c or "",
                    updated=blob.updated,
                )


@contextmanager
def _missing_as_not_found(uri: Uri, generation: str) -> Generator[None]:
    try:
        yield
    except CloudError as error:
        if error.code != 404:
            raise
        raise NotFoundError(f"{uri} at generation {generation} does not exist") from error
