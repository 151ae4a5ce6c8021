"""Uploads that take several requests: resumable sessions and XML multipart uploads.

Source: cloud.google.com/storage/docs/resumable-uploads, .../xml-api/post-object-multipart.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any

from google.api_core import exceptions

from saxflow.local.storage.payload import Payload
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.ranges import ContentRange
from saxflow.local.storage.resources import ObjectRecord
from saxflow.local.storage.store import Store

CHUNK_MULTIPLE_BYTES = 256 * 1024
COMPLETE_LIMIT = 1000


@dataclass
class Session:
    """One resumable upload.

    Args:
        record: the object, once complete.
    """

    identity: str
    bucket: str
    name: str
    fields: Mapping[str, Any]
    conditions: Preconditions
    promised: dict[str, str]
    payload: Payload
    record: ObjectRecord | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Resumables:
    """The resumable sessions that are open, and the last `COMPLETE_LIMIT` that are complete.

    They live as long as the server.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, Session] = {}
        self._complete: deque[str] = deque()

    def start(
        self,
        bucket: str,
        name: str,
        fields: Mapping[str, Any],
        conditions: Preconditions,
        promised: dict[str, str],
    ) -> str:
        """Open a session and return its id.

        Raises:
            NotFound, PreconditionFailed.
        """
        self._store.check(bucket, name, conditions)
        payload = self._store.payload(bucket, with_md5="md5" in promised)
        identity = uuid.uuid4().hex
        self._sessions[identity] = Session(
            identity, bucket, name, fields, conditions, promised, payload
        )
        return identity

    def get(self, identity: str) -> Session:
        """Return a session.

        Raises:
            NotFound: it was never opened, was cancelled or belongs to an earlier server.
        """
        session = self._sessions.get(identity)
        if session is None:
            raise _no_such_upload(identity)
        return session

    def name_of(self, identity: str | None) -> str:
        """Return the name of a session's object, empty when there is no such session."""
        session = self._sessions.get(identity or "")
        return session.name if session is not None else ""

    def cancel(self, identity: str) -> None:
        """Forget a session and what it received.

        Raises:
            NotFound: no such session.
        """
        session = self.get(identity)
        with session.lock:
            self._forget(session)

    def append(
        self, session: Session, span: ContentRange, pieces: Iterable[bytes],
        promised: Mapping[str, str],
    ) -> ObjectRecord | None:  # fmt: skip
        """Receive a chunk; return the object when it is complete. Bytes received stay received.

        Raises:
            NotFound: the session ended meanwhile.
            InvalidArgument: the chunk leaves a gap, is no multiple of 256 KiB or a checksum differs;
                or more was received than the object has.
            PreconditionFailed.
        """
        with session.lock:
            self.get(session.identity)
            if session.record is not None:
                return session.record
            session.promised.update(promised)
            if span.start is not None:
                _check_span(session, span)
                session.payload.fill(_without(pieces, session.payload.size - span.start))
            if span.total is None or session.payload.size < span.total:
                return None
            _check_total(session, span.total)
            session.record = self._finish(session)
            self._remember(session)
            return session.record

    def _finish(self, session: Session) -> ObjectRecord:
        try:
            session.payload.check(session.promised)
            return self._store.commit(
                session.bucket, session.name, session.payload, session.fields, session.conditions
            )
        except BaseException:
            self._forget(session)
            raise

    def _remember(self, session: Session) -> None:
        self._complete.append(session.identity)
        while len(self._complete) > COMPLETE_LIMIT:
            self._sessions.pop(self._complete.popleft(), None)

    def _forget(self, session: Session) -> None:
        self._sessions.pop(session.identity, None)
        if session.record is None:
            session.payload.discard()

    def close(self) -> None:
        """Drop every session."""
        for session in list(self._sessions.values()):
            with session.lock:
                self._forget(session)


def _check_span(session: Session, span: ContentRange) -> None:
    start, end = span.start or 0, span.end or 0
    if start > session.payload.size:
        raise exceptions.InvalidArgument(
            f"chunk begins at byte {start}, but only {session.payload.size} were received"
        )
    length = end - start + 1
    final = span.total is not None and end + 1 >= span.total
    if not final and length % CHUNK_MULTIPLE_BYTES:
        raise exceptions.InvalidArgument(
            f"a chunk that is not the last must be a multiple of 256 KiB; this one has {length} bytes"
        )


def _check_total(session: Session, total: int) -> None:
    if session.payload.size > total:
        raise exceptions.InvalidArgument(
            f"a total of {total} byte(s), but {session.payload.size} were received"
        )


def _without(pieces: Iterable[bytes], skip: int) -> Iterator[bytes]:
    for piece in pieces:
        if skip < len(piece):
            yield piece[skip:] if skip else piece
        skip = max(skip - len(piece), 0)


@dataclass
class _Assembly:
    bucket: str
    name: str
    fields: Mapping[str, Any]
    parts: dict[int, Payload] = field(default_factory=dict[int, Payload])
    lock: threading.Lock = field(default_factory=threading.Lock)


class Multiparts:
    """The XML multipart uploads under way."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._assemblies: dict[str, _Assembly] = {}

    def start(self, bucket: str, name: str, fields: Mapping[str, Any]) -> str:
        """Open an upload and return its id.

        Raises:
            NotFound: no such bucket.
        """
        self._store.bucket(bucket)
        identity = uuid.uuid4().hex
        self._assemblies[identity] = _Assembly(bucket, name, fields)
        return identity

    def put_part(
        self, identity: str, number: int, pieces: Iterable[bytes], promised: Mapping[str, str]
    ) -> str:
        """Receive a part, replacing an earlier one of that number; return its ETag.

        Raises:
            NotFound: no such upload.
            InvalidArgument: a checksum differs.
        """
        bucket = self._get(identity).bucket
        payload = self._store.receive(bucket, pieces, promised, with_md5=True)
        try:
            with self._alone(identity) as assembly:
                replaced = assembly.parts.get(number)
                assembly.parts[number] = payload
        except exceptions.NotFound:
            payload.discard()
            raise
        if replaced is not None:
            replaced.discard()
        return payload.md5

    def complete(
        self, identity: str, numbers: Iterable[int], conditions: Preconditions
    ) -> ObjectRecord:
        """Join the named parts into the object.

        Raises:
            NotFound: no such upload.
            InvalidArgument: a part is missing or named twice.
            PreconditionFailed.
        """
        with self._alone(identity) as assembly:
            parts = _chosen(assembly, sorted(numbers))
            pieces = chain.from_iterable(part.pieces() for part in parts)
            whole = self._store.receive(assembly.bucket, pieces, {})
            record = self._store.commit(
                assembly.bucket, assembly.name, whole, assembly.fields, conditions,
                components=len(parts),
            )  # fmt: skip
            self._forget(identity)
        return record

    def abort(self, identity: str) -> None:
        """Forget an upload and its parts.

        Raises:
            NotFound: no such upload.
        """
        with self._alone(identity):
            self._forget(identity)

    def _forget(self, identity: str) -> None:
        for part in self._assemblies.pop(identity).parts.values():
            part.discard()

    @contextmanager
    def _alone(self, identity: str) -> Generator[_Assembly]:
        """Keep every other request away from an upload, which may have ended while this waited."""
        with self._get(identity).lock:
            yield self._get(identity)

    def _get(self, identity: str) -> _Assembly:
        assembly = self._assemblies.get(identity)
        if assembly is None:
            raise _no_such_upload(identity)
        return assembly


def _chosen(assembly: _Assembly, numbers: list[int]) -> list[Payload]:
    """Return the parts of an upload by their sorted numbers."""
    for number, following in pairwise(numbers):
        if number == following:
            raise exceptions.InvalidArgument(f"part {number} is named twice")
    for number in numbers:
        if number not in assembly.parts:
            raise exceptions.InvalidArgument(f"part {number} was not uploaded")
    return [assembly.parts[number] for number in numbers]


def _no_such_upload(identity: str) -> exceptions.NotFound:
    return exceptions.NotFound(
        f"Upload {identity} does not exist.", errors=[{"reason": "NoSuchUpload"}]
    )
