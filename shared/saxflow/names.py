"""Names and ids: what may be called how, and what is derived from a deployment's name.

Everything here is a pure function of its arguments, so the same event delivered twice leads to the
same ids, and every create in the cloud is idempotent.

Source: design.md sections 3 and 4; SAX's id grammar, saxml/common/naming (facts/sax.md section 6).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from saxflow.errors import InputError

NAME_PATTERN = r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$"
NAME_RULE = "1 to 30 of a-z 0-9 and hyphens, a letter first, no hyphen last"
SAX_CELL_PATTERN = r"^/sax/[a-z]+[a-z0-9_-]*$"
SAX_MODEL_PATTERN = r"^[a-z]+[a-z0-9_-]*$"
SAX_MODEL_PATH_PATTERN = r"^[a-zA-Z]+[a-zA-Z0-9_.-]*$"
MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
NO_DEPLOYMENT = "-"
"""Stands for the deployment in events about a file whose stem is no legal name."""

_NAME = re.compile(NAME_PATTERN)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def is_deployment_name(text: str) -> bool:
    """Return whether `text` may name a deployment."""
    return _NAME.fullmatch(text) is not None


def is_manifest(object_name: str) -> bool:
    """Return whether an object in the manifests bucket is meant to be a manifest."""
    return object_name.endswith(MANIFEST_SUFFIXES)


def stem_of(object_name: str) -> str:
    """Return the stem of a manifest's object name: `team/llama2-7b.yaml` -> `llama2-7b`."""
    base = PurePosixPath(object_name).name
    for suffix in MANIFEST_SUFFIXES:
        if base.endswith(suffix):
            return base[: -len(suffix)]
    return base


def to_base36(number: int) -> str:
    """Return a non-negative number in base 36, lower case.

    Raises:
        InputError: the number is negative.
    """
    if number < 0:
        raise InputError(f"{number} is negative; only numbers from 0 have a base 36 form here")
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if number == 0:
            return digits


def from_base36(text: str) -> int:
    """Return the number that `to_base36` wrote.

    Raises:
        InputError: the text is empty or holds anything but 0-9 a-z.
    """
    if not text or any(character not in _DIGITS for character in text):
        raise InputError(f"{text!r} is not a number in base 36; digits are 0-9 and a-z")
    return int(text, 36)


def generation36(generation: str) -> str:
    """Return a Cloud Storage generation in base 36, short enough for every id.

    Raises:
        InputError: the generation is not a decimal number.
    """
    if not (generation.isascii() and generation.isdigit()):
        raise InputError(f"{generation!r} is not a generation; it must be a decimal number")
    return to_base36(int(generation))


def deployment_id(name: str, generation: str, attempt: int) -> str:
    """Return `sf-<name>-<generation in base 36>-a<attempt>`: Job, QueuedResource and Node id."""
    return f"sf-{name}-{generation36(generation)}-a{attempt}"


def parse_deployment_id(identifier: str) -> tuple[str, str, int]:
    """Return name, generation and attempt of an id that `deployment_id` made.

    Raises:
        InputError: the text is no such id.
    """
    parts = identifier.removeprefix("sf-").rsplit("-", 2)
    if not identifier.startswith("sf-") or len(parts) != 3 or not is_deployment_name(parts[0]):
        raise InputError(f"{identifier!r} is not an id of the form sf-NAME-GENERATION-aATTEMPT")
    name, generation, attempt = parts
    number = attempt.removeprefix("a")
    if attempt == number or not (number.isascii() and number.isdigit()):
        raise InputError(f"{identifier!r} does not end in -a and the number of an attempt")
    return name, str(from_base36(generation)), int(number)


def attempt_root(name: str, generation: str, attempt: int) -> str:
    """Return the prefix in the cells bucket that belongs to one attempt alone."""
    return f"{name}/{generation36(generation)}-a{attempt}"


def head_object(name: str) -> str:
    """Return the object name of a deployment's head in the control bucket."""
    return f"deployments/{name}/head.json"


def plan_prefix(name: str, generation: str) -> str:
    """Return the prefix of a plan's parts in the control bucket, with a slash at the end."""
    return f"deployments/{name}/{generation}/"


def events_prefix(name: str, generation: str) -> str:
    """Return the prefix of the event log of one generation, with a slash at the end.

    What concerns no deployment (a file whose stem is no legal name) is logged below `rejected/`.
    """
    if name == NO_DEPLOYMENT:
        return f"rejected/{generation}/"
    return f"{plan_prefix(name, generation)}events/"


def default_directory(name: str) -> str:
    """Return the checkpoint directory of a deployment whose dimensions the catalog does not know."""
    return f"saxml_{name}"


def default_model(name: str) -> str:
    """Return the SAX model name of a deployment whose dimensions the catalog does not know."""
    return name.replace("-", "")
