"""The XML API as object stores call it: objects by path, listing, multipart uploads, copies.

Source: cloud.google.com/storage/docs/xml-api/overview.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from google.api_core import exceptions

from saxflow.local.http import Response
from saxflow.local.storage.listing import Query, page_limit
from saxflow.local.storage.media import Call, media_headers, send_media
from saxflow.local.storage.preconditions import Preconditions, parse_int64
from saxflow.local.storage.resources import ObjectRecord, check_name
from saxflow.local.storage.store import Source, Store
from saxflow.local.storage.uploads import Multiparts

_PART_LIMIT = 10_000
_ATTRIBUTES = {
    "Content-Type": "contentType",
    "Cache-Control": "cacheControl",
    "Content-Disposition": "contentDisposition",
    "Content-Encoding": "contentEncoding",
    "Content-Language": "contentLanguage",
}


_CODES = {
    400: "InvalidArgument",
    401: "AuthenticationRequired",
    403: "AccessDenied",
    404: "NoSuchKey",
    409: "Conflict",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "SlowDown",
    501: "NotImplemented",
    503: "ServiceUnavailable",
}


class XmlApi:
    """Objects by path, each operation a method of one call."""

    def __init__(self, store: Store, multiparts: Multiparts) -> None:
        self._store = store
        self._multiparts = multiparts

    def list_objects(self, call: Call) -> Response:
        """GET bucket"""
        limit = page_limit(parse_int64(call.first, "max-keys"), "max-keys")
        query = Query(
            prefix=call.first("prefix") or "",
            delimiter=call.first("delimiter") or "",
            start_offset=_after(call.first("start-after") or call.first("marker") or ""),
            page_token=call.first("continuation-token") or "",
            limit=limit,
        )
        records, page = self._store.list(call.names[0], query)
        parts = [
            _tag("Name", call.names[0]),
            _tag("Prefix", query.prefix),
            _tag("KeyCount", str(len(records) + len(page.prefixes))),
            _tag("IsTruncated", "true" if page.next_token else "false"),
            _tag("NextContinuationToken", page.next_token) if page.next_token else "",
            *[_entry(record) for record in records],
            *[f"<CommonPrefixes>{_tag('Prefix', each)}</CommonPrefixes>" for each in page.prefixes],
        ]
        return _xml(200, "ListBucketResult", "".join(parts))

    def get_object(self, call: Call) -> Response:
        """GET and HEAD object"""
        generation = parse_int64(call.first, "generation")
        conditions = Preconditions.from_headers(call.request.headers.get)
        if call.request.method == "HEAD":
            bucket, name = call.names
            record = self._store.get(bucket, name, generation=generation, conditions=conditions)
            _check_etag(call, record)
            headers = media_headers(record) | {"Content-Length": str(record.size)}
            return Response(200, headers)
        return send_media(
            self._store, call, generation=generation, conditions=conditions, refusal=error_xml,
            check=lambda record: _check_etag(call, record),
        )  # fmt: skip

    def put_object(self, call: Call) -> Response:
        """PUT object: its bytes, a part of a multipart upload, or a copy"""
        if call.first("uploadId"):
            return self._put_part(call)
        check_name(call.names[1])
        if call.header("x-goog-copy-source"):
            return self._copy(call)
        bucket, name = call.names
        conditions = Preconditions.from_headers(call.request.headers.get)
        promised = call.promised()
        self._store.check(bucket, name, conditions)
        payload = self._store.receive(bucket, call.pieces(), promised)
        record = self._store.commit(bucket, name, payload, _fields(call), conditions)
        return Response(200, _written_headers(record))

    def post_object(self, call: Call) -> Response:
        """POST object: begin or complete a multipart upload"""
        if "uploads" in call.request.query:
            bucket, name = call.names
            check_name(name)
            identity = self._multiparts.start(bucket, name, _fields(call))
            inner = _tag("Bucket", bucket) + _tag("Key", name)
            return _xml(200, "InitiateMultipartUploadResult", inner + _tag("UploadId", identity))
        conditions = Preconditions.from_headers(call.request.headers.get)
        numbers = _part_numbers(call.request.body.read())
        record = self._multiparts.complete(call.first("uploadId") or "", numbers, conditions)
        inner = _tag("Bucket", record.bucket) + _tag("Key", record.name)
        inner += _tag("ETag", f'"{record.etag}"')
        return _xml(200, "CompleteMultipartUploadResult", inner, _written_headers(record))

    def delete_object(self, call: Call) -> Response:
        """DELETE object, or abort a multipart upload"""
        if identity := call.first("uploadId"):
            self._multiparts.abort(identity)
            return Response(204)
        conditions = Preconditions.from_headers(call.request.headers.get)
        generation = parse_int64(call.first, "generation")
        self._store.delete(*call.names[:2], generation=generation, conditions=conditions)
        return Response(204)

    def _put_part(self, call: Call) -> Response:
        number = parse_int64(call.first, "partNumber") or 0
        if not 1 <= number <= _PART_LIMIT:
            raise exceptions.InvalidArgument(
                f"partNumber {number} is not within 1 to {_PART_LIMIT}"
            )
        identity = call.first("uploadId") or ""
        etag = self._multiparts.put_part(identity, number, call.pieces(), call.promised())
        return Response(200, {"ETag": f'"{etag}"'})

    def _copy(self, call: Call) -> Response:
        header = call.request.headers.get
        source = _copy_source(call.header("x-goog-copy-source"))
        source_bucket, _, source_name = source.partition("/")
        copied_from = Source(
            source_bucket,
            source_name,
            parse_int64(header, "x-goog-copy-source-generation"),
            Preconditions.from_headers(header, source=True),
        )
        replaced = call.header("x-goog-metadata-directive").upper() == "REPLACE"
        fields = _fields(call) if replaced else None
        conditions = Preconditions.from_headers(header)
        copied = self._store.copy(copied_from, call.names[0], call.names[1], fields, conditions)
        inner = _tag("ETag", f'"{copied.etag}"') + _tag("LastModified", copied.updated)
        return _xml(200, "CopyObjectResult", inner, _written_headers(copied))


def error_xml(error: exceptions.GoogleAPICallError) -> Response:
    """Return an error as the XML API answers it."""
    status = int(error.code or 500)
    named = [detail["reason"] for detail in error.errors if "reason" in detail]
    code = named[0] if named else _CODES.get(status, "InternalError")
    return _xml(status, "Error", _tag("Code", code) + _tag("Message", error.message))


def _check_etag(call: Call, record: ObjectRecord) -> None:
    wanted, unwanted = call.header("If-Match"), call.header("If-None-Match")
    if wanted and wanted != "*" and record.etag not in _etags(wanted):
        raise exceptions.PreconditionFailed(f"If-Match {wanted} does not hold")
    if unwanted and (unwanted == "*" or record.etag in _etags(unwanted)):
        raise exceptions.from_http_status(304, f"If-None-Match {unwanted} holds")


def _copy_source(header: str) -> str:
    try:
        return unquote(header, errors="strict").lstrip("/")
    except UnicodeDecodeError as error:
        raise exceptions.InvalidArgument(f"x-goog-copy-source is not UTF-8: {error}") from error


def _etags(header: str) -> set[str]:
    return {each.strip().removeprefix("W/").strip('"') for each in header.split(",")}


def _fields(call: Call) -> dict[str, Any]:
    fields: dict[str, Any] = {
        field: call.header(header) for header, field in _ATTRIBUTES.items() if call.header(header)
    }
    prefix = "x-goog-meta-"
    metadata = {
        key.lower().removeprefix(prefix): value
        for key, value in call.request.headers.items()
        if key.lower().startswith(prefix)
    }
    return {**fields, "metadata": metadata} if metadata else fields


def _written_headers(record: ObjectRecord) -> dict[str, str]:
    kept = ("ETag", "X-Goog-Generation", "X-Goog-Metageneration", "X-Goog-Hash")
    return {key: value for key, value in media_headers(record).items() if key in kept}


def _part_numbers(body: bytes) -> list[int]:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314  # loopback; expat limits entities itself
    except ElementTree.ParseError as error:
        raise exceptions.InvalidArgument(f"malformed CompleteMultipartUpload: {error}") from error
    texts = [each.text or "" for each in root.iter() if each.tag.endswith("PartNumber")]
    if not texts or not all(text.isdecimal() and len(text) < 6 for text in texts):
        raise exceptions.InvalidArgument(
            f"malformed CompleteMultipartUpload: part numbers {', '.join(texts)[:80]!r}"
        )
    return [int(text) for text in texts]


def _after(name: str) -> str:
    return f"{name}\0" if name else ""


def _entry(record: ObjectRecord) -> str:
    return (
        "<Contents>"
        + _tag("Key", record.name)
        + _tag("Generation", str(record.generation))
        + _tag("MetaGeneration", str(record.metageneration))
        + _tag("LastModified", record.updated)
        + _tag("ETag", f'"{record.etag}"')
        + _tag("Size", str(record.size))
        + "</Contents>"
    )


def _tag(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _xml(status: int, root: str, inner: str, headers: dict[str, str] | None = None) -> Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><{root}>{inner}</{root}>'
    all_headers = {"Content-Type": "application/xml; charset=UTF-8", **(headers or {})}
    return Response(status, all_headers, body.encode())
