"""The operations of the JSON API.

Source: the discovery document of storage v1; cloud.google.com/storage/docs/json_api.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from itertools import chain
from typing import Any, BinaryIO, cast

from google.api_core import exceptions

from saxflow.local.http import Response, json_response
from saxflow.local.paging import page
from saxflow.local.storage.listing import PAGE_LIMIT, Query, page_limit
from saxflow.local.storage.media import Call, media_headers, send_media
from saxflow.local.storage.multipart import MultipartUpload, Read
from saxflow.local.storage.notifications import Notifications
from saxflow.local.storage.payload import file_pieces
from saxflow.local.storage.preconditions import Lookup, Preconditions, parse_int64
from saxflow.local.storage.ranges import ContentRange, parse_content_range
from saxflow.local.storage.resources import WRITABLE, ObjectRecord, check_name, json_object
from saxflow.local.storage.store import Source, Store
from saxflow.local.storage.uploads import Resumables, Session

_BUCKET_PART = "[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?"
_BUCKET_NAME = re.compile(
    rf"(?=.{{3,222}}$)(?!goog)(?!\d+(?:\.\d+){{3}}$){_BUCKET_PART}(?:\.{_BUCKET_PART})*"
)
_COMPOSE_LIMIT = 32
_REASONS = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    409: "conflict",
    412: "conditionNotMet",
    416: "requestedRangeNotSatisfiable",
    429: "rateLimitExceeded",
    503: "backendError",
}


class JsonApi:
    """Buckets, objects, uploads and notifications, each operation a method of one call."""

    def __init__(
        self, store: Store, resumables: Resumables, notifications: Notifications, project: str
    ) -> None:
        self._store = store
        self._resumables = resumables
        self._notifications = notifications
        self._project = project

    # Buckets

    def insert_bucket(self, call: Call) -> Response:
        """buckets.insert"""
        fields = _body(call)
        name = str(fields.pop("name", ""))
        if not _BUCKET_NAME.fullmatch(name):
            raise exceptions.InvalidArgument(f"Invalid bucket name: {name!r}")
        project = call.first("project") or self._project
        record = self._store.create_bucket(name, project, fields)
        return json_response(200, record.resource(call.root))

    def list_buckets(self, call: Call) -> Response:
        """buckets.list"""
        project = call.first("project") or self._project
        records = self._store.buckets(project, call.first("prefix") or "")
        limit = page_limit(parse_int64(call.first, "maxResults"), "maxResults")
        shown, token = page(records, limit, call.first("pageToken") or "")
        items = [record.resource(call.root) for record in shown]
        answer: dict[str, Any] = {"kind": "storage#buckets", "items": items}
        return json_response(200, answer | ({"nextPageToken": token} if token else {}))

    def get_bucket(self, call: Call) -> Response:
        """buckets.get"""
        record = self._store.bucket(call.names[0]).record
        Preconditions.from_query(call.first).check(0, record.metageneration, reading=True)
        return json_response(200, record.resource(call.root))

    def patch_bucket(self, call: Call) -> Response:
        """buckets.patch and buckets.update"""
        conditions = Preconditions.from_query(call.first)
        whole = call.request.method == "PUT"
        record = self._store.patch_bucket(call.names[0], _body(call), conditions, whole=whole)
        return json_response(200, record.resource(call.root))

    def delete_bucket(self, call: Call) -> Response:
        """buckets.delete"""
        self._store.delete_bucket(call.names[0], Preconditions.from_query(call.first))
        self._notifications.forget(call.names[0])
        return Response(204)

    def storage_layout(self, call: Call) -> Response:
        """buckets.getStorageLayout"""
        record = self._store.bucket(call.names[0]).record
        layout = {"kind": "storage#storageLayout", "bucket": record.name, **record.place()}
        return json_response(200, {**layout, "hierarchicalNamespace": {"enabled": False}})

    def test_permissions(self, call: Call) -> Response:
        """buckets.testIamPermissions: everything is allowed."""
        self._store.bucket(call.names[0])
        permissions = call.request.query.get("permissions", [])
        return json_response(200, {"permissions": permissions})

    def service_account(self, call: Call) -> Response:
        """projects.serviceAccount.get"""
        address = f"service-1@gs-{call.names[0]}.iam.gserviceaccount.com"
        return json_response(200, {"kind": "storage#serviceAccount", "email_address": address})

    # Objects

    def list_objects(self, call: Call) -> Response:
        """objects.list"""
        for name in ("matchGlob", "softDeleted"):
            if call.first(name) not in (None, "", "false", "False"):
                raise exceptions.MethodNotImplemented(f"{name} is not part of the embedded cloud")
        limit = page_limit(parse_int64(call.first, "maxResults"), "maxResults")
        query = Query(
            prefix=call.first("prefix") or "",
            delimiter=call.first("delimiter") or "",
            start_offset=call.first("startOffset") or "",
            end_offset=call.first("endOffset") or "",
            include_trailing_delimiter=_flag(call.first("includeTrailingDelimiter")),
            page_token=call.first("pageToken") or "",
            limit=limit or PAGE_LIMIT,
        )
        records, found = self._store.list(call.names[0], query)
        answer: dict[str, Any] = {"kind": "storage#objects"}
        if records:
            answer["items"] = [record.resource(call.root) for record in records]
        if found.prefixes:
            answer["prefixes"] = found.prefixes
        if found.next_token:
            answer["nextPageToken"] = found.next_token
        return json_response(200, answer)

    def get_object(self, call: Call) -> Response:
        """objects.get, metadata or, with alt=media, the bytes"""
        conditions = Preconditions.from_query(call.first)
        generation = parse_int64(call.first, "generation")
        if call.first("alt") == "media" or call.request.path.startswith("/download/"):
            return send_media(
                self._store, call, generation=generation, conditions=conditions, refusal=error_json
            )
        bucket, name = call.names
        record = self._store.get(bucket, name, generation=generation, conditions=conditions)
        return self._object(call, self._store.with_md5(record))

    def patch_object(self, call: Call) -> Response:
        """objects.patch"""
        return self._change(call, whole=False)

    def update_object(self, call: Call) -> Response:
        """objects.update"""
        return self._change(call, whole=True)

    def delete_object(self, call: Call) -> Response:
        """objects.delete"""
        bucket, name = call.names
        conditions = Preconditions.from_query(call.first)
        generation = parse_int64(call.first, "generation")
        self._store.delete(bucket, name, generation=generation, conditions=conditions)
        return Response(204)

    def copy_object(self, call: Call) -> Response:
        """objects.copy"""
        return self._object(call, self._copied(call))

    def rewrite_object(self, call: Call) -> Response:
        """objects.rewrite, always in one step"""
        record = self._copied(call)
        answer = {
            "kind": "storage#rewriteResponse",
            "totalBytesRewritten": str(record.size),
            "objectSize": str(record.size),
            "done": True,
            "resource": record.resource(call.root),
        }
        return json_response(200, answer)

    def compose_object(self, call: Call) -> Response:
        """objects.compose"""
        bucket, name = call.names
        body = _body(call)
        sources = body.get("sourceObjects")
        if not isinstance(sources, list) or not 1 <= len(sources) <= _COMPOSE_LIMIT:
            raise exceptions.InvalidArgument(f"compose takes 1 to {_COMPOSE_LIMIT} source objects")
        check_name(name)
        conditions = Preconditions.from_query(call.first)
        self._store.check(bucket, name, conditions)
        with ExitStack() as stack:
            opened = [self._compose_source(bucket, *each, stack) for each in enumerate(sources)]
            pieces = chain.from_iterable(file_pieces(file) for _, file in opened)
            payload = self._store.receive(bucket, pieces, {})
        records = [record for record, _ in opened]
        fields = {"contentType": records[0].content_type, **_object_of(body, "destination")}
        count = sum(max(record.components, 1) for record in records)
        composed = self._store.commit(bucket, name, payload, fields, conditions, components=count)
        return self._object(call, composed)

    def insert_object(self, call: Call) -> Response:
        """objects.insert with uploadType media or multipart"""
        if call.first("uploadType") == "multipart":
            return self._insert_multipart(call)
        fields = self._named(call, {})
        if call.header("Content-Type"):
            fields["contentType"] = call.header("Content-Type")
        if encoding := call.first("contentEncoding"):
            fields["contentEncoding"] = encoding
        return self._insert(call, fields, call.request.body.read)

    def start_upload(self, call: Call) -> Response:
        """objects.insert with uploadType=resumable: open a session"""
        fields = self._named(call, _body(call))
        if call.header("X-Upload-Content-Type") and not fields.get("contentType"):
            fields["contentType"] = call.header("X-Upload-Content-Type")
        conditions = Preconditions.from_query(call.first)
        bucket, name = call.names[0], fields["name"]
        promised = call.promised(fields)
        identity = self._resumables.start(bucket, name, fields, conditions, promised)
        location = (
            f"{call.root}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={identity}"
        )
        return Response(200, {"Location": location, "X-GUploader-UploadID": identity})

    def continue_upload(self, call: Call) -> Response:
        """A chunk, the whole, or a status query of a resumable session."""
        session = self._resumables.get(call.first("upload_id") or "")
        header = call.header("Content-Range")
        span = _chunk(call, header) if header else _whole(call, session)
        record = self._resumables.append(session, span, call.pieces(), call.promised())
        if record is not None:
            return self._object(call, record)
        received = session.payload.size
        headers = {"Range": f"bytes=0-{received - 1}"} if received else {}
        return Response(308, headers)

    def cancel_upload(self, call: Call) -> Response:
        """Cancel a resumable session."""
        self._resumables.cancel(call.first("upload_id") or "")
        return Response(499)

    # Notifications

    def insert_notification(self, call: Call) -> Response:
        """notifications.insert"""
        self._store.bucket(call.names[0])
        return json_response(200, self._notifications.add(call.names[0], _body(call)))

    def list_notifications(self, call: Call) -> Response:
        """notifications.list"""
        self._store.bucket(call.names[0])
        items = self._notifications.of(call.names[0])
        return json_response(200, {"kind": "storage#notifications", "items": items})

    def get_notification(self, call: Call) -> Response:
        """notifications.get"""
        return json_response(200, self._notifications.get(*call.names))

    def delete_notification(self, call: Call) -> Response:
        """notifications.delete"""
        self._notifications.remove(*call.names)
        return Response(204)

    def _object(self, call: Call, record: ObjectRecord) -> Response:
        headers = {"ETag": f'"{record.etag}"', "X-Goog-Hash": media_headers(record)["X-Goog-Hash"]}
        return json_response(200, record.resource(call.root), headers)

    def _change(self, call: Call, *, whole: bool) -> Response:
        bucket, name = call.names
        record = self._store.patch(
            bucket, name, _body(call), whole=whole,
            generation=parse_int64(call.first, "generation"),
            conditions=Preconditions.from_query(call.first),
        )  # fmt: skip
        return self._object(call, record)

    def _copied(self, call: Call) -> ObjectRecord:
        source_bucket, source_name, bucket, name = call.names
        source = Source(
            source_bucket,
            source_name,
            parse_int64(call.first, "sourceGeneration"),
            Preconditions.from_query(call.first, source=True),
        )
        body = _body(call)
        fields = body if any(key in body for key in (*WRITABLE, "metadata")) else None
        conditions = Preconditions.from_query(call.first)
        check_name(name)
        return self._store.copy(source, bucket, name, fields, conditions)

    def _compose_source(
        self, bucket: str, index: int, source: Any, stack: ExitStack
    ) -> tuple[ObjectRecord, BinaryIO]:
        """Open a source until the stack is left, so that no overwrite can take it away."""
        field = _lookup(source)
        name = field("name")
        if not name:
            raise exceptions.InvalidArgument(f"sourceObjects[{index}] has no name")
        conditions = _lookup(_member(source, "objectPreconditions"))
        record, file = self._store.open(
            bucket,
            name,
            generation=parse_int64(field, "generation"),
            conditions=Preconditions(parse_int64(conditions, "ifGenerationMatch")),
        )
        return record, stack.enter_context(file)

    def _insert_multipart(self, call: Call) -> Response:
        upload = MultipartUpload(call.request.body.read, call.header("Content-Type"))
        fields = self._named(call, upload.metadata)
        fields.setdefault("contentType", upload.content_type)
        media = upload.media()
        return self._insert(call, fields, lambda _: next(media, b""))

    def _insert(self, call: Call, fields: dict[str, Any], read: Read) -> Response:
        bucket, name = call.names[0], fields["name"]
        conditions = Preconditions.from_query(call.first)
        promised = call.promised(fields)
        self._store.check(bucket, name, conditions)
        payload = self._store.receive(bucket, call.pieces(read), promised)
        return self._object(call, self._store.commit(bucket, name, payload, fields, conditions))

    def _named(self, call: Call, fields: dict[str, Any]) -> dict[str, Any]:
        name = call.first("name") or fields.get("name") or ""
        check_name(str(name))
        return {**fields, "name": str(name)}


def error_json(error: exceptions.GoogleAPICallError) -> Response:
    """Return an error as the JSON API answers it."""
    status = int(error.code or 500)
    reason = _REASONS.get(status, "internalError")
    detail = {"message": error.message, "domain": "global", "reason": reason}
    body = {"error": {"code": status, "message": error.message, "errors": [detail]}}
    return json_response(status, body)


def _chunk(call: Call, header: str) -> ContentRange:
    """Return what a chunk says of itself.

    Raises:
        InvalidArgument: it cannot be read, or the body has another length.
    """
    span = parse_content_range(header)
    length = call.header("Content-Length")
    if span.start is not None and span.end is not None and length:
        promised = span.end - span.start + 1
        if int(length) != promised:
            raise exceptions.InvalidArgument(
                f"There were {length} byte(s) in the request body; there should have been"
                f" {promised} according to the Content-Range header."
            )
    return span


def _whole(call: Call, session: Session) -> ContentRange:
    length = int(call.header("Content-Length") or 0)
    start = session.payload.size
    return ContentRange(start, start + length - 1, start + length)


def _member(value: Any, name: str) -> Any:
    """Return a member of a JSON object, None when it is no object or lacks it."""
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _object_of(value: Any, name: str) -> dict[str, Any]:
    """Return a member of a JSON object that is itself an object, else an empty one."""
    member = _member(value, name)
    return cast("dict[str, Any]", member) if isinstance(member, dict) else {}


def _lookup(value: Any) -> Lookup:
    """Return the members of a JSON object as texts by name."""

    def first(name: str) -> str | None:
        member = _member(value, name)
        return None if member is None else str(member)

    return first


def _flag(text: str | None) -> bool:
    return (text or "").lower() == "true"


def _body(call: Call) -> dict[str, Any]:
    return json_object(call.request.body.read())
