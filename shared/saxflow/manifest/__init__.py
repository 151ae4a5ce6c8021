"""The manifest: strict `saxflow/v1`, all problems at once, each with line and column.

document   bytes -> plain values that know where they stand
fields     grammars of single fields
model      the typed sections
rules      what must hold between fields
parse      all of it, or a ManifestError with every problem
schema     the same as JSON Schema, for editors
"""

from __future__ import annotations

from saxflow.manifest.document import MAX_BYTES
from saxflow.manifest.fields import IDS_TOKENIZER, seconds_of
from saxflow.manifest.model import API_VERSION, Manifest
from saxflow.manifest.parse import parse
from saxflow.manifest.schema import json_schema

__all__ = [
    "API_VERSION",
    "IDS_TOKENIZER",
    "MAX_BYTES",
    "Manifest",
    "json_schema",
    "parse",
    "seconds_of",
]
