"""Buckets and objects on disk, with the store's promises: atomic, conditional, persistent.

Data is streamed into a file first; only the last step, the precondition check and the line in the
journal, holds the bucket's lock. So of any number of racing writers with the same condition exactly
one wins, readers never see half an object, and a killed server loses nothing it has acknowledged.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from google.api_core import exceptions

from saxflow.local.clock import Clock
from saxflow.local.replacing import replace_file
from saxflow.local.storage.bucket import Bucket
from saxflow.local.storage.listing import Page, Query, page_of
from saxflow.local.storage.payload import Payload, md5_of
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.resources import (
    WRITABLE,
    BucketRecord,
    ObjectRecord,
    custom_metadata,
    no_such_bucket,
    rfc3339,
)

Event = Literal["finalized", "deleted", "metadataUpdated"]
Listener = Callable[[Event, ObjectRecord, Mapping[str, str]], None]
ANY = Preconditions()


@dataclass(frozen=True)
class Source:
    """What is copied: an object, at `generation` when given, if the conditions hold."""

    bucket: str
    name: str
    generation: int | None = None
    conditions: Preconditions = ANY


class Store:
    """All buckets below a directory.

    Args:
        directory: created when absent.
        clock: decides times and generations.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._generation_lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._trash = directory / ".deleted"
        shutil.rmtree(self._trash, ignore_errors=True)
        self._trash.mkdir(parents=True, exist_ok=True)
        self._buckets: dict[str, Bucket] = {}
        for path in sorted(directory.glob("*/bucket.json")):
            record = BucketRecord(**json.loads(path.read_text()))
            self._buckets[record.name] = Bucket(record, path.parent)
        self._last_generation = max(
            (each.generation for bucket in self._buckets.values() for each in bucket.live.values()),
            default=0,
        )

    def listen(self, listener: Listener) -> None:
        """Call `listener(event, record, attributes)` after every change; it must not block."""
        self._listeners.append(listener)

    def close(self) -> None:
        """End every change, and release every file."""
        with self._lock:
            buckets = list(self._buckets.values())
        for bucket in buckets:
            bucket.close()

    # Buckets

    def create_bucket(self, name: str, project: str, fields: Mapping[str, Any]) -> BucketRecord:
        """Create a bucket.

        Raises:
            Conflict: it exists.
        """
        now = self._now()
        record = BucketRecord(name, project, now, now, fields=dict(fields))
        with self._lock:
            if name in self._buckets:
                raise exceptions.Conflict(f"Bucket {name} already exists.")
            directory = self._directory / name
            directory.mkdir(exist_ok=True)
            replace_file(directory / "bucket.json", json.dumps(asdict(record)))
            self._buckets[name] = Bucket(record, directory)
        return record

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises:
            NotFound: it does not exist.
        """
        found = self._buckets.get(name)
        if found is None:
            raise no_such_bucket()
        return found

    def buckets(self, project: str, prefix: str = "") -> list[BucketRecord]:
        """Return the buckets of a project in name order."""
        with self._lock:
            records = [each.record for each in self._buckets.values()]
        chosen = [r for r in records if r.project == project and r.name.startswith(prefix)]
        return sorted(chosen, key=lambda record: record.name)

    def patch_bucket(
        self,
        name: str,
        fields: Mapping[str, Any],
        conditions: Preconditions,
        *,
        whole: bool = False,
    ) -> BucketRecord:
        """Merge fields into a bucket's record, at every depth; null removes one.

        Args:
            whole: replace every field (update) instead of merging (patch).

        Raises:
            NotFound, PreconditionFailed.
        """
        bucket = self.bucket(name)
        with bucket.changing():
            conditions.check(0, bucket.record.metageneration)
            record = replace(
                bucket.record,
                fields=_merged({} if whole else bucket.record.fields, fields),
                metageneration=bucket.record.metageneration + 1,
                updated=self._now(),
            )
            replace_file(self._directory / name / "bucket.json", json.dumps(asdict(record)))
            bucket.record = record
            return record

    def delete_bucket(self, name: str, conditions: Preconditions) -> None:
        """Delete an empty bucket.

        Raises:
            NotFound, PreconditionFailed.
            Conflict: it holds objects.
        """
        bucket = self.bucket(name)
        with self._lock, bucket.changing():
            conditions.check(0, bucket.record.metageneration)
            if bucket.live:
                raise exceptions.Conflict("The bucket you tried to delete is not empty.")
            trash = self._trash / uuid.uuid4().hex
            os.rename(self._directory / name, trash)
            bucket.close()
            del self._buckets[name]
        shutil.rmtree(trash, ignore_errors=True)  # the next start removes what is left

    # Objects

    def payload(self, bucket: str, *, with_md5: bool = False) -> Payload:
        """Return a new payload to fill for a bucket.

        Raises:
            NotFound: no such bucket.
        """
        return Payload(self.bucket(bucket).new_path(), with_md5=with_md5)

    def receive(
        self,
        bucket: str,
        pieces: Iterable[bytes],
        promised: Mapping[str, str],
        *,
        with_md5: bool = False,
    ) -> Payload:
        """Return a payload with all of these bytes; nothing stays of one that fails.

        Args:
            promised: checksums by the sender's word, by `crc32c` and `md5`.

        Raises:
            NotFound: no such bucket.
            InvalidArgument: a checksum differs.
        """
        payload = self.payload(bucket, with_md5=with_md5 or "md5" in promised)
        try:
            payload.fill(pieces)
            payload.check(promised)
        except BaseException:
            payload.discard()
            raise
        return payload

    def check(self, bucket: str, name: str, conditions: Preconditions) -> None:
        """Check a write's preconditions early, before its data is received.

        Raises:
            NotFound: no such bucket.
            PreconditionFailed.
        """
        live = self.bucket(bucket).live.get(name)
        conditions.check(*_versions(live))

    def commit(
        self,
        bucket_name: str,
        name: str,
        payload: Payload,
        fields: Mapping[str, Any],
        conditions: Preconditions,
        *,
        components: int = 0,
    ) -> ObjectRecord:
        """Make a filled payload the live generation of a name, or discard it.

        Raises:
            NotFound: the bucket is gone.
            PreconditionFailed: the condition does not hold any more.
            OSError: the disk is full.
        """
        try:
            bucket = self.bucket(bucket_name)
            with bucket.changing():
                conditions.check(*_versions(bucket.live.get(name)))
                record = self._record(bucket_name, name, payload, fields, components)
                previous = bucket.put(record)
        except BaseException:
            payload.discard()
            raise
        self._announce_put(record, previous)
        return record

    def get(
        self,
        bucket: str,
        name: str,
        *,
        generation: int | None = None,
        conditions: Preconditions = ANY,
    ) -> ObjectRecord:
        """Return the live record, at `generation` when given.

        Raises:
            NotFound, PreconditionFailed, NotModified.
        """
        return self._find(self.bucket(bucket), name, generation, conditions)

    def open(
        self,
        bucket_name: str,
        name: str,
        *,
        generation: int | None = None,
        conditions: Preconditions = ANY,
    ) -> tuple[ObjectRecord, BinaryIO]:
        """Return the live record and its data, which stays readable whatever happens next.

        Raises:
            NotFound, PreconditionFailed, NotModified.
        """
        bucket = self.bucket(bucket_name)
        with bucket.lock:
            record = self._find(bucket, name, generation, conditions)
            return record, open(bucket.path(record.file), "rb", buffering=0)

    def with_md5(self, record: ObjectRecord) -> ObjectRecord:
        """Return the record with its md5, computed now when it was not taken on arrival."""
        if record.md5 or record.components:
            return record
        bucket = self.bucket(record.bucket)
        try:
            md5 = md5_of(bucket.path(record.file))
        except FileNotFoundError:
            return record
        with bucket.lock:
            live = bucket.live.get(record.name)
            if live is not None and live.generation == record.generation and not bucket.closed:
                bucket.put(replace(live, md5=md5))
        return replace(record, md5=md5)

    def list(self, bucket_name: str, query: Query) -> tuple[list[ObjectRecord], Page]:
        """Return the records and the common prefixes of one page.

        Raises:
            NotFound: no such bucket.
        """
        bucket = self.bucket(bucket_name)
        with bucket.lock:
            page = page_of(bucket.names, query)
            return [bucket.live[name] for name in page.names], page

    def patch(
        self,
        bucket_name: str,
        name: str,
        fields: Mapping[str, Any],
        *,
        whole: bool = False,
        generation: int | None = None,
        conditions: Preconditions = ANY,
    ) -> ObjectRecord:
        """Change an object's metadata.

        Raises:
            NotFound, PreconditionFailed.
        """
        bucket = self.bucket(bucket_name)
        with bucket.changing():
            found = self._find(bucket, name, generation, conditions, reading=False)
            record = found.patched(fields, updated=self._now(), whole=whole)
            bucket.put(record)
        self._announce("metadataUpdated", record, {})
        return record

    def delete(
        self,
        bucket_name: str,
        name: str,
        *,
        generation: int | None = None,
        conditions: Preconditions = ANY,
    ) -> None:
        """Delete an object.

        Raises:
            NotFound, PreconditionFailed.
        """
        bucket = self.bucket(bucket_name)
        with bucket.changing():
            record = self._find(bucket, name, generation, conditions, reading=False)
            bucket.remove(record)
        self._announce("deleted", record, {})

    def copy(
        self,
        source: Source,
        bucket_name: str,
        name: str,
        fields: Mapping[str, Any] | None,
        conditions: Preconditions,
    ) -> ObjectRecord:
        """Make a name a copy of an object, sharing its bytes on disk.

        Args:
            fields: new metadata; None copies the source's.

        Raises:
            NotFound, PreconditionFailed.
        """
        bucket = self.bucket(bucket_name)
        target = bucket.new_path()
        found = self._linked(source, target)
        try:
            with bucket.changing():
                conditions.check(*_versions(bucket.live.get(name)))
                record = self._copied(found, bucket_name, name, target.name, fields)
                previous = bucket.put(record)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        self._announce_put(record, previous)
        return record

    def _linked(self, source: Source, target: Path) -> ObjectRecord:
        """Give the bytes of an object a second name; return its record."""
        origin = self.bucket(source.bucket)
        with origin.lock:
            record = self._find(
                origin, source.name, source.generation, source.conditions, reading=False
            )
            try:
                os.link(origin.path(record.file), target)
            except FileNotFoundError:
                raise no_such_bucket() from None
        return record

    def _copied(
        self, source: ObjectRecord, bucket: str, name: str, file: str,
        fields: Mapping[str, Any] | None,
    ) -> ObjectRecord:  # fmt: skip
        now = self._now()
        record = replace(
            source, bucket=bucket, name=name, generation=self._next_generation(),
            metageneration=1, file=file, created=now, updated=now,
        )  # fmt: skip
        if fields is None:
            return record
        return replace(record.patched(fields, updated=now, whole=True), metageneration=1)

    def _find(
        self,
        bucket: Bucket,
        name: str,
        generation: int | None,
        conditions: Preconditions,
        *,
        reading: bool = True,
    ) -> ObjectRecord:
        record = bucket.live.get(name)
        if record is None or (generation is not None and generation != record.generation):
            at = f"#{generation}" if generation is not None else ""
            raise exceptions.NotFound(f"No such object: {bucket.record.name}/{name}{at}")
        conditions.check(record.generation, record.metageneration, reading=reading)
        return record

    def _record(
        self, bucket: str, name: str, payload: Payload, fields: Mapping[str, Any], components: int
    ) -> ObjectRecord:
        now = self._now()
        return ObjectRecord(
            bucket=bucket,
            name=name,
            generation=self._next_generation(),
            metageneration=1,
            file=payload.path.name,
            size=payload.size,
            crc32c=payload.crc32c,
            md5="" if components else payload.md5,
            created=now,
            updated=now,
            attributes={key: fields[key] for key in WRITABLE if fields.get(key) is not None},
            metadata={k: v for k, v in custom_metadata(fields).items() if v is not None},
            components=components,
        )

    def _announce_put(self, record: ObjectRecord, previous: ObjectRecord | None) -> None:
        replaced = {} if previous is None else {"overwroteGeneration": str(previous.generation)}
        self._announce("finalized", record, replaced)
        if previous is not None:
            by = {"overwrittenByGeneration": str(record.generation)}
            self._announce("deleted", previous, by)

    def _announce(self, event: Event, record: ObjectRecord, attributes: Mapping[str, str]) -> None:
        for listener in self._listeners:
            listener(event, record, attributes)

    def _next_generation(self) -> int:
        with self._generation_lock:
            self._last_generation = max(
                self._last_generation + 1, int(self._clock.time() * 1_000_000)
            )
            return self._last_generation

    def _now(self) -> str:
        return rfc3339(self._clock.now())


def _merged(present: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON merge patch applied (RFC 7396)."""
    merged = {key: value for key, value in present.items() if key not in changes}
    for key, value in changes.items():
        if isinstance(value, dict):
            inner = present.get(key)
            merged[key] = _merged(
                cast("dict[str, Any]", inner) if isinstance(inner, dict) else {},
                cast("dict[str, Any]", value),
            )
        elif value is not None:
            merged[key] = value
    return merged


def _versions(record: ObjectRecord | None) -> tuple[int, int]:
    return (0, 0) if record is None else (record.generation, record.metageneration)
