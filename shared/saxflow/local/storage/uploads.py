"""Uploads that take several requests: resumable sessions and XML multipart uploads.

Source: cloud.google.com/storage/docs/resumable-uploads, .../xml-api/post-object-multipart.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.api_core import exceptions

from saxflow.local.storage.payload import Payload, file_pieces
from saxflow.local.storage.preconditions import Preconditions
from saxflow.local.storage.ranges import ContentRange
from saxflow.local.storage.resources import ObjectRecord
from saxflow.local.storage.store import Store

CHUNK_MULTIPLE_BYTES = 256 * 1024


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
    """The resumable sessions that are open or complete; they live as long as the server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sessions: dict[str, Session] = {}

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
            del self._sessions[identity]
            if session.record is None:
                session.payload.discard()

    def append(
        self, session: Session, span: ContentRange, pieces: Iterable[bytes],
        promised: Mapping[str, str],
    ) -> ObjectRecord | None:  # fmt: skip
        """Receive a chunk; return the object when it is complete. Bytes received stay received.

        Raises:
            InvalidArgument: the chunk leaves a gap, is no multiple of 256 KiB or a checksum differs.
            PreconditionFailed.
        """
        with session.lock:
            if session.record is not None:
                return session.record
            session.promised.update(promised)
            if span.start is not None:
                _check_span(session, span)
                session.payload.fill(_without(pieces, session.payload.size - span.start))
            if span.total is None or session.payload.size < span.total:
                return None
            session.record = self._finish(session)
            return session.record

    def _finish(self, session: Session) -> ObjectRecord:
        try:
            session.payload.check(session.promised)
            return self._store.commit(
                session.bucket, session.name, session.payload, session.fields, session.conditions
            )
        except exceptions.GoogleAPICallError:
            session.payload.discard()
            self._sessions.pop(session.identity, None)
            raise

    def close(self) -> None:
        """Drop every unfinished session."""
        for session in self._sessions.values():
            if session.record is None:
                session.payload.discard()


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
        assembly = self._get(identity)
        payload = self._store.payload(assembly.bucket, with_md5=True)
        try:
            payload.fill(pieces)
            payload.check(promised)
        except BaseException:
            payload.discard()
            raise
        payload.close()
        replaced, assembly.parts[number] = assembly.parts.get(number), payload
        if replaced is not None:
            replaced.discard()
        return payload.md5

    def complete(
        self, identity: str, numbers: Iterable[int], conditions: Preconditions
    ) -> ObjectRecord:
        """Join the named parts into the object.

        Raises:
            NotFound: no such upload.
            InvalidArgument: a part is missing.
            PreconditionFailed.
        """
        assembly = self._get(identity)
        whole = self._store.payload(assembly.bucket)
        for number in sorted(numbers):
            part = assembly.parts.get(number)
            if part is None:
                whole.discard()
                raise exceptions.InvalidArgument(f"part {number} was not uploaded")
            whole.fill(file_pieces(part.path))
        count = len(assembly.parts)
        record = self._store.commit(
            assembly.bucket, assembly.name, whole, assembly.fields, conditions, components=count
        )
        self.abort(identity)
        return record

    def abort(self, identity: str) -> None:
        """Forget an upload and its parts.

        Raises:
            NotFound: no such upload.
        """
        for part in self._get(identity).parts.values():
            part.discard()
        del self._assemblies[identity]

    def _get(self, identity: str) -> _Assembly:
        assembly = self._assemblies.get(identity)
        if assembly is None:
            raise _no_such_upload(identity)
        return assembly


def _no_such_upload(identity: str) -> exceptions.NotFound:
    return exceptions.NotFound(
        f"Upload {identity} does not exist.", errors=[{"reason": "NoSuchUpload"}]
    )
