"""Buckets and objects as the JSON API shows them.

Source: the discovery document of storage v1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

from google.api_core import exceptions

WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "eventBasedHold",
    "storageClass",
    "temporaryHold",
)
"""Fields of an object that its writer decides, besides `metadata`."""

_NAME_LIMIT_BYTES = 1024
_MULTI_REGIONS = ("ASIA", "EU", "US")


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC as resources show it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def no_such_bucket() -> exceptions.NotFound:
    """Return what every call on a bucket that does not exist is answered."""
    return exceptions.NotFound(
        "The specified bucket does not exist.", errors=[{"reason": "NoSuchBucket"}]
    )


def check_name(name: str) -> None:
    """Refuse what cannot name an object.

    Raises:
        InvalidArgument.
    """
    if not name:
        raise exceptions.InvalidArgument("Required parameter: name")
    if len(name.encode()) > _NAME_LIMIT_BYTES or "\r" in name or "\n" in name:
        raise exceptions.InvalidArgument(f"Invalid object name: {name[:80]!r}")
    if name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        raise exceptions.InvalidArgument(f"Invalid object name: {name!r}")


def json_object(text: bytes) -> dict[str, Any]:
    """Return the JSON object that a request carries, an empty one when it carries nothing.

    Raises:
        InvalidArgument: it is none, or has text that UTF-8 cannot hold.
    """
    if not text.strip():
        return {}
    try:
        value = json.loads(text.decode(), parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise exceptions.InvalidArgument(f"Parse Error: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise exceptions.InvalidArgument("Parse Error: a JSON object was expected")
    return cast("dict[str, Any]", value)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def custom_metadata(fields: Mapping[str, Any]) -> dict[str, str | None]:
    """Return an object's custom metadata as its writer gave it; None removes a key.

    Raises:
        InvalidArgument: it is not a JSON object.
    """
    given = fields.get("metadata") or {}
    if not isinstance(given, dict):
        raise exceptions.InvalidArgument("metadata must be an object of strings")
    pairs = cast("dict[Any, Any]", given).items()
    return {str(key): None if value is None else str(value) for key, value in pairs}


@dataclass(frozen=True)
class ObjectRecord:
    """One generation of one object.

    Args:
        file: name of its data file in the bucket's directory.
        crc32c: base64 of the big-endian checksum.
        md5: base64, empty when not known.
        created, updated: RFC 3339.
        attributes: the fields of `WRITABLE` that are set.
        metadata: custom metadata.
        components: number of objects it was composed from, 0 when not composed.
    """

    bucket: str
    name: str
    generation: int
    metageneration: int
    file: str
    size: int
    crc32c: str
    md5: str
    created: str
    updated: str
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    components: int = 0

    @property
    def etag(self) -> str:
        """Opaque; changes with generation and metageneration."""
        return f"{self.generation:x}/{self.metageneration:x}"

    @property
    def content_type(self) -> str:
        """The media type, Google's default when none was given."""
        return str(self.attributes.get("contentType") or "application/octet-stream")

    def patched(self, fields: Mapping[str, Any], *, updated: str, whole: bool) -> ObjectRecord:
        """Return the next metageneration with fields changed; null removes one.

        Args:
            whole: replace everything that can be written (update) instead of merging (patch).
        """
        attributes = {} if whole else dict(self.attributes)
        attributes.update({key: fields[key] for key in WRITABLE if key in fields})
        cleared = whole or ("metadata" in fields and fields["metadata"] is None)
        metadata: dict[str, Any] = {} if cleared else dict(self.metadata)
        metadata.update(custom_metadata(fields))
        return replace(
            self,
            metageneration=self.metageneration + 1,
            updated=updated,
            attributes={key: value for key, value in attributes.items() if value is not None},
            metadata={key: value for key, value in metadata.items() if value is not None},
        )

    def resource(self, root: str) -> dict[str, Any]:
        """Return the JSON resource; `root` is the URL of the server."""
        link = f"{root}/storage/v1/b/{self.bucket}/o/{quote(self.name, safe='')}"
        media = f"{root}/download/storage/v1/b/{self.bucket}/o/{quote(self.name, safe='')}"
        resource: dict[str, Any] = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": link,
            "mediaLink": f"{media}?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "storageClass": "STANDARD",
            "size": str(self.size),
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": self.created,
            "updated": self.updated,
            "timeStorageClassUpdated": self.created,
            "timeFinalized": self.created,
            **self.attributes,
        }
        if self.md5:
            resource["md5Hash"] = self.md5
        if self.metadata:
            resource["metadata"] = dict(self.metadata)
        if self.components:
            resource["componentCount"] = self.components
        return resource


@dataclass(frozen=True)
class BucketRecord:
    """One bucket.

    Args:
        fields: what its creator set: location, storageClass, labels, versioning, lifecycle, ...
    """

    name: str
    project: str
    created: str
    updated: str
    metageneration: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def place(self) -> dict[str, str]:
        """Return `location` and `locationType`."""
        location = str(self.fields.get("location") or "US").upper()
        kind = "region" if "-" in location else "dual-region"
        kind = "multi-region" if location in _MULTI_REGIONS else kind
        return {"location": location, "locationType": kind}

    def resource(self, root: str) -> dict[str, Any]:
        """Return the JSON resource; `root` is the URL of the server."""
        return {
            "storageClass": "STANDARD",
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            **self.fields,
            **self.place(),
            "kind": "storage#bucket",
            "id": self.name,
            "selfLink": f"{root}/storage/v1/b/{self.name}",
            "name": self.name,
            "projectNumber": "1",
            "metageneration": str(self.metageneration),
            "etag": f"{self.metageneration:x}",
            "timeCreated": self.created,
            "updated": self.updated,
        }
