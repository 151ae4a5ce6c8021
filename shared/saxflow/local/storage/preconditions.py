"""Conditions on generation and metageneration, from query parameters or XML API headers.

Source: cloud.google.com/storage/docs/request-preconditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from google.api_core import exceptions

Lookup = Callable[[str], str | None]

_INT64 = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True)
class Preconditions:
    """What must hold for a request to be carried out; None conditions always hold.

    A generation of 0 stands for an object that does not exist.
    """

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def from_query(cls, first: Lookup, *, source: bool = False) -> Preconditions:
        """Read `ifGenerationMatch` and its three siblings (`ifSource...` when `source`).

        Raises:
            InvalidArgument: a value is not a number.
        """
        prefix = "ifSource" if source else "if"
        return cls(
            parse_int64(first, f"{prefix}GenerationMatch"),
            parse_int64(first, f"{prefix}GenerationNotMatch"),
            parse_int64(first, f"{prefix}MetagenerationMatch"),
            parse_int64(first, f"{prefix}MetagenerationNotMatch"),
        )

    @classmethod
    def from_headers(cls, first: Lookup, *, source: bool = False) -> Preconditions:
        """Read `x-goog-if-generation-match` and `x-goog-if-metageneration-match`.

        Args:
            source: read those of the object to be copied, `x-goog-copy-source-if-...`.

        Raises:
            InvalidArgument: a value is not a number.
        """
        prefix = "x-goog-copy-source-if" if source else "x-goog-if"
        return cls(
            generation_match=parse_int64(first, f"{prefix}-generation-match"),
            metageneration_match=parse_int64(first, f"{prefix}-metageneration-match"),
        )

    def check(self, generation: int, metageneration: int, *, reading: bool = False) -> None:
        """Compare with what is there; 0 and 0 for an object that does not exist.

        Raises:
            PreconditionFailed: a `Match` does not hold, or, when writing, a `NotMatch`.
            NotModified: a `NotMatch` does not hold when reading.
        """
        if _differs(self.generation_match, generation):
            raise _failed("ifGenerationMatch", self.generation_match, generation)
        if _differs(self.metageneration_match, metageneration):
            raise _failed("ifMetagenerationMatch", self.metageneration_match, metageneration)
        if self.generation_not_match == generation:
            raise _matched("ifGenerationNotMatch", generation, reading)
        if self.metageneration_not_match == metageneration:
            raise _matched("ifMetagenerationNotMatch", metageneration, reading)


def parse_int64(first: Lookup, name: str) -> int | None:
    """Return a parameter as a number, None when absent.

    Raises:
        InvalidArgument: not a number of 64 bits.
    """
    text = first(name)
    if text is None or text == "":
        return None
    if not _INT64.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise exceptions.InvalidArgument(f"Invalid value {text[:40]!r} for {name}")
    return int(text)


def _differs(wanted: int | None, actual: int) -> bool:
    return wanted is not None and wanted != actual


def _failed(name: str, wanted: int | None, actual: int) -> exceptions.PreconditionFailed:
    return exceptions.PreconditionFailed(
        "At least one of the pre-conditions you specified did not hold:"
        f" {name} is {wanted}, the object has {actual}"
    )


def _matched(name: str, actual: int, reading: bool) -> exceptions.GoogleAPICallError:
    if reading:
        return exceptions.from_http_status(304, f"{name} holds: {actual}")
    return _failed(name, actual, actual)
