"""SAX's grammar of names: cells, models, registry paths, checkpoints, overrides.

Checked before a request leaves, because the admin answers bad names with code UNKNOWN and a text.

Source: google/saxml v1.1.0 `saxml/common/naming.go`, `saxml/admin/validator.go`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from saxflow.errors import InputError

ROOT = "/sax"
MOST_REPLICAS = 2**31 - 1
_PART = re.compile(r"[a-z]+[a-z0-9_-]*")
_MODEL_PATH = re.compile(r"[a-zA-Z]+[a-zA-Z0-9_.-]*")
_CHECKPOINT = re.compile(r"(/|\d|\w|_|\.|-|%|:|=|\|)+", re.ASCII)
_ADDRESS = re.compile(r".+:\d{1,5}")


@dataclass(frozen=True)
class CellName:
    """`/sax/<cell>`."""

    cell: str

    @classmethod
    def parse(cls, text: str) -> CellName:
        """Read a cell name.

        Raises:
            InputError: it is not of the form /sax/<cell>.
        """
        parts = text.split("/")
        if len(parts) != 3 or parts[:2] != ["", "sax"] or not _PART.fullmatch(parts[2]):
            raise InputError(
                f"{text!r} is no SAX cell; write /sax/<cell>, the part in lower-case letters,"
                " digits, - and _, starting with a letter"
            )
        return cls(parts[2])

    def __str__(self) -> str:
        return f"{ROOT}/{self.cell}"


@dataclass(frozen=True)
class ModelName:
    """`/sax/<cell>/<model>`."""

    cell: CellName
    model: str

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a model ID.

        Raises:
            InputError: it is not of the form /sax/<cell>/<model>.
        """
        parts = text.split("/")
        if (
            len(parts) != 4
            or parts[:2] != ["", "sax"]
            or not all(_PART.fullmatch(part) for part in parts[2:])
        ):
            raise InputError(
                f"{text!r} is no SAX model ID; write /sax/<cell>/<model>, both parts in lower-case"
                " letters, digits, - and _, starting with a letter"
            )
        return cls(CellName(parts[2]), parts[3])

    def __str__(self) -> str:
        return f"{self.cell}/{self.model}"


def check_model_path(text: str) -> str:
    """Return a registry path such as `saxml.server.pax.lm.params.saxflow.Llama`.

    Raises:
        InputError: SAX's admin would refuse it.
    """
    if not _MODEL_PATH.fullmatch(text):
        raise InputError(
            f"{text!r} is no SAX model path; write the class's dotted path in SAX's registry"
        )
    return text


def check_checkpoint(text: str) -> str:
    """Return a checkpoint path, or `None` (the word) for random weights.

    Raises:
        InputError: SAX's admin would refuse it.
    """
    if not _CHECKPOINT.fullmatch(text):
        raise InputError(
            f"checkpoint path {text!r} is not legal in SAX; letters, digits and / _ . - % : = | are"
        )
    return text


def check_overrides(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return publish overrides, whose values must be JSON text.

    Raises:
        InputError: a value is not JSON; the message names its key.
    """
    for key, value in overrides.items():
        check_text(value, f"override {check_text(key, 'override')}")
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(
                f"override {key} is {value!r}; SAX takes JSON, so write text in double quotes"
            ) from None
    return dict(overrides)


def check_replicas(count: int) -> int:
    """Return how many servers should hold a model.

    Raises:
        InputError: SAX's messages have no such number.
    """
    if not 0 <= count <= MOST_REPLICAS:
        raise InputError(f"replicas is {count}; a number from 0 to {MOST_REPLICAS} is needed")
    return count


def check_text(text: str, what: str) -> str:
    """Return a text that a message can carry; a byte of an argument that is no UTF-8 cannot.

    Args:
        what: names the text in the message.

    Raises:
        InputError: a character is half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} cannot be sent: character {error.start + 1} is half of a surrogate pair;"
            " give UTF-8 text"
        ) from error
    return text


def check_address(text: str) -> str:
    """Return `host:port`.

    Raises:
        InputError: the port is missing.
    """
    if not _ADDRESS.fullmatch(text):
        raise InputError(f"{text!r} is no address; write host:port")
    return text
