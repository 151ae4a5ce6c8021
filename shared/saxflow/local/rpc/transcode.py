"""Between HTTP/JSON and protobuf: routes with `{name=projects/*}` templates, bodies, queries.

Source: google/api/http.proto.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

from google.api_core import exceptions
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from saxflow.local.rpc.operations import plain

_SYSTEM_PARAMETERS = frozenset(
    {"$alt", "alt", "key", "fields", "prettyPrint", "access_token", "callback", "quotaUser",
     "oauth_token", "uploadType", "upload_protocol", "$.xgafv", "$prettyPrint", "userProject"}
)  # fmt: skip
_VARIABLE = re.compile(r"\{([\w.]+)(?:=([^}]*))?\}")


@dataclass(frozen=True)
class Route:
    """One HTTP method and path of one RPC."""

    verb: str
    pattern: re.Pattern[str]
    fields: tuple[str, ...]
    body: str | None
    has_verb_suffix: bool


def parse_route(option: Mapping[str, str]) -> Route:
    """Compile an http option of a client library."""
    template = option["uri"]
    fields: list[str] = []
    pattern, end = "", 0
    for variable in _VARIABLE.finditer(template):
        pattern += re.escape(template[end : variable.start()])
        pattern += f"({_segments(variable[2] or '*')})"
        fields.append(variable[1])
        end = variable.end()
    tail = template[end:]
    return Route(
        option["method"].upper(),
        re.compile(pattern + re.escape(tail)),
        tuple(fields),
        option.get("body"),
        ":" in tail,
    )


def _segments(template: str) -> str:
    wild = {"*": "[^/]+", "**": ".+"}
    return "/".join(wild.get(part, re.escape(part)) for part in template.split("/"))


def decode_request(
    message_type: Any, route: Route, values: tuple[str, ...], query: Mapping[str, list[str]],
    body: bytes,
) -> Any:  # fmt: skip
    """Build the request message of an RPC from a path that matched, its query and its body.

    Raises:
        InvalidArgument: not JSON, an unknown field or a value of the wrong type.
    """
    message = message_type()
    pb = plain(message)
    descriptor = cast(Descriptor, pb.DESCRIPTOR)
    fields: dict[str, Any] = {}
    if route.body is not None:
        _merge_body(fields, route.body, _json_object(body), descriptor)
    for name, texts in query.items():
        if name not in _SYSTEM_PARAMETERS:
            _put(fields, name.split("."), _query_value(descriptor, name.split("."), texts))
    for path, value in zip(route.fields, values, strict=True):
        _put(fields, path.split("."), unquote(value))
    try:
        json_format.ParseDict(fields, pb)
    except json_format.ParseError as error:
        raise exceptions.InvalidArgument(f"Invalid JSON payload received. {error}") from error
    return message


def encode_response(message: Any, *, integer_enums: bool) -> bytes:
    """Return a message as the JSON that Google's front ends answer."""
    value = json_format.MessageToDict(plain(message), use_integers_for_enums=integer_enums)
    return json.dumps(value, ensure_ascii=False).encode()


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise exceptions.InvalidArgument(f"Invalid JSON payload received. {error}") from error
    if not isinstance(value, dict):
        raise exceptions.InvalidArgument("Invalid JSON payload received. Root must be an object")
    return cast("dict[str, Any]", value)


def _merge_body(
    fields: dict[str, Any], name: str, value: dict[str, Any], descriptor: Descriptor
) -> None:
    if name == "*":
        fields.update(value)
    elif name in descriptor.fields_by_name:
        fields[name] = value


def _put(fields: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        inner = fields.setdefault(part, {})
        if not isinstance(inner, dict):
            raise exceptions.InvalidArgument(f"Invalid JSON payload received. {part} is no object")
        fields = cast("dict[str, Any]", inner)
    fields[path[-1]] = value


def _query_value(descriptor: Descriptor, path: list[str], texts: list[str]) -> Any:
    found = _field(descriptor, path)
    if found is None:
        raise exceptions.InvalidArgument(
            f'Invalid JSON payload received. Unknown name "{".".join(path)}": Cannot bind query parameter.'
        )
    if found.type == FieldDescriptor.TYPE_BOOL:
        return texts[0].lower() in ("true", "1")
    return texts if _repeated(found) else texts[0]


def _field(descriptor: Descriptor, path: list[str]) -> FieldDescriptor | None:
    found: FieldDescriptor | None = None
    current: Descriptor | None = descriptor
    for part in path:
        if current is None:
            return None
        found = current.fields_by_camelcase_name.get(part) or current.fields_by_name.get(part)
        if found is None:
            return None
        current = found.message_type
    return found


def _repeated(found: FieldDescriptor) -> bool:
    return bool(found.is_repeated)
