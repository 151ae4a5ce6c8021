"""Grammars of single manifest fields: one table row each, used by parser and JSON Schema alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from saxflow import names

IDS_TOKENIZER = "ids:"
"""Stands for no tokenizer at all: text is token ids, separated by commas, in and out."""

NEVER = "never"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Grammar:
    """A regular expression and, for people, the rule it stands for."""

    pattern: str
    rule: str

    def check(self, value: str) -> str:
        """Return the value when it matches as a whole.

        Raises:
            PydanticCustomError: it does not; the rule is the message.
        """
        if re.search(self.pattern, value) is None or value.endswith("\n"):
            raise PydanticCustomError("grammar", "{rule}", {"rule": self.rule})
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": self.pattern}


_BUCKET = r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
_PATH = r"[^\s\x00-\x1f\x7f?#*\[\]\\/]+(/[^\s\x00-\x1f\x7f?#*\[\]\\/]+)*/?"
_SAX_PATH = r"[A-Za-z0-9_.%:=|-]+(/[A-Za-z0-9_.%:=|-]+)*/?"
_NOT_DOTS = r"(?!.*/\.{1,2}(/|$))"
_DURATION = r"([1-9][0-9]{0,4}[sm]|[1-9][0-9]{0,3}h|[1-9][0-9]{0,2}d)"

Name = Annotated[
    str,
    Grammar(names.NAME_PATTERN, names.NAME_RULE),
    Field(examples=["llama2-7b"]),
]
WeightsSource = Annotated[
    str,
    Grammar(
        rf"^{_NOT_DOTS}(gs://{_BUCKET}(/{_PATH})?/?|file:///{_PATH}"
        r"|hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9._/-]*)$",
        "gs://BUCKET/DIRECTORY, hf://ORG/REPO@REVISION, or with the local cloud file:///DIRECTORY",
    ),
    Field(examples=["gs://my-models/llama-2-7b", "hf://meta-llama/Llama-2-7b@main"]),
]
TokenizerUri = Annotated[
    str,
    Grammar(
        rf"^({_NOT_DOTS}(gs://{_BUCKET}/{_PATH}|file:///{_PATH})|ids:)$",
        "gs://BUCKET/OBJECT of a sentencepiece model, or `ids:` for token ids instead of text",
    ),
    Field(examples=["gs://my-models/llama-2-7b/tokenizer.model"]),
]
Destination = Annotated[
    str,
    Grammar(
        rf"^{_NOT_DOTS}gs://{_BUCKET}/{_SAX_PATH}$",
        "gs://BUCKET/DIRECTORY, of letters, digits and _ . % : = | - (SAX accepts no others)",
    ),
    Field(examples=["gs://my-models/sax_models/llama2/saxml_llama27b"]),
]
Sha256 = Annotated[str, Grammar(r"^[0-9a-f]{64}$", "64 hexadecimal digits in lower case")]
FileName = Annotated[
    str, Grammar(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "the name of a file directly below the source")
]
AcceleratorType = Annotated[
    str,
    Grammar(
        r"^v5litepod-(1|4|8|16|32)$",
        "v5litepod-1, -4, -8, -16 or -32, the v5e slices that SAX knows",
    ),
    Field(examples=["v5litepod-4", "v5litepod-16"]),
]
Zone = Annotated[
    str,
    Grammar(r"^[a-z]+-[a-z]+[0-9]{1,2}-[a-z]$", "a zone, for example us-central1-a"),
    Field(examples=["us-central1-a"]),
]
RuntimeVersion = Annotated[
    str,
    Grammar(
        r"^[a-z0-9][a-z0-9.-]{0,62}$", "a TPU runtime version, for example v2-alpha-tpuv5-lite"
    ),
    Field(examples=["v2-alpha-tpuv5-lite"]),
]
Reservation = Annotated[
    str,
    Grammar(
        r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", "the name of a reservation, without projects/ or zone"
    ),
]
Duration = Annotated[
    str,
    Grammar(rf"^{_DURATION}$", "a number and one of s m h d, for example 90s, 30m, 6h, 1d"),
    Field(examples=["90s", "30m", "6h", "1d"]),
]
Lifetime = Annotated[
    str,
    Grammar(
        rf"^({_DURATION}|never)$", "a number and one of s m h d, for example 8h, or the word never"
    ),
    Field(examples=["8h", "2d", "never"]),
]
Cell = Annotated[
    str,
    Grammar(names.SAX_CELL_PATTERN, "/sax/NAME, a letter first, then a-z 0-9 _ and hyphen"),
    Field(examples=["/sax/test"], max_length=64),
]
ModelName = Annotated[
    str,
    Grammar(names.SAX_MODEL_PATTERN, "a letter first, then a-z 0-9 _ and hyphen"),
    Field(examples=["llama27b"], max_length=63),
]
ModelPath = Annotated[
    str,
    Grammar(names.SAX_MODEL_PATH_PATTERN, "the full registry path of a class of the SAX image"),
    Field(examples=["saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16TPUv5e"], max_length=256),
]


def seconds_of(duration: str) -> int:
    """Return a `Duration` in seconds: `90s`, `30m`, `6h`, `1d`."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def lifetime_seconds(lifetime: str) -> int | None:
    """Return a `Lifetime` in seconds, None for `never`."""
    return None if lifetime == NEVER else seconds_of(lifetime)
