"""The manifest's JSON Schema, made from the same models that parse it."""

from __future__ import annotations

from typing import Any, cast

from saxflow.manifest.model import Manifest


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a manifest.

    It says all that the parser says, but for what depends on where the file stands: that `name` is
    the file's stem, and whether file:// is legal there.
    """
    schema = cast("dict[str, Any]", _without_null(Manifest.model_json_schema()))
    schema["$defs"]["Tpu"] |= {
        "if": {"properties": {"provisioning": {"const": "reserved"}}, "required": ["provisioning"]},
        "then": {"required": ["reservation"]},
        "else": {"properties": {"reservation": False}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:saxflow:schema:manifest:v1",
        **schema,
        "title": "saxflow manifest",
        "examples": [
            {
                "apiVersion": "saxflow/v1",
                "name": "llama2-7b",
                "weights": {"source": "gs://my-models/llama-2-7b"},
            }
        ],
    }


def _without_null(value: Any) -> Any:
    """Drop the null alternatives of optional fields: an absent key is how to say nothing."""
    if isinstance(value, list):
        return [_without_null(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    kept = {
        key: _without_null(item)
        for key, item in fields.items()
        if key != "title" and not (key == "default" and item is None)
    }
    some = [option for option in kept.pop("anyOf", []) if option != {"type": "null"}]
    return {**some[0], **kept} if some else kept
