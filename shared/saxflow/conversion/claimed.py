"""A destination in Cloud Storage that one conversion has claimed, closed once another takes it.

Nothing in Cloud Storage can be locked, so an attempt that was held up while `--overwrite` gave its
place to a newer one would go on writing there. It therefore looks at the claim before each object;
at most what it was sending when it was held up still arrives, and never in the place of another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Self

from saxflow.checkpoint.digest import crc32c
from saxflow.checkpoint.directory import Buffer, Directory, Entry, crc32c_text
from saxflow.errors import BusyError

CLAIM = "claim.json"
CLEARING = "being cleared"
"""In place of a fingerprint while an old conversion is deleted, so that nobody writes or resumes."""


def claim_text(fingerprint: str) -> bytes:
    """Return the claim of a conversion."""
    return json.dumps({"fingerprint": fingerprint}).encode()


class Claimed:
    """A directory that is written to only as long as its claim is this conversion's."""

    def __init__(self, target: Directory, fingerprint: str) -> None:
        self._target = target
        self._crc32c = crc32c_text(crc32c(claim_text(fingerprint)))

    @property
    def uri(self) -> str:
        return self._target.uri

    def entries(self, prefix: str = "", *, recursive: bool = True) -> dict[str, Entry]:
        return self._target.entries(prefix, recursive=recursive)

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        return self._target.read(name, start, size)

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        self._target.read_into(name, start, buffer)

    def create(self, name: str, data: Sequence[Buffer], crc32c: int, *, origin: str = "") -> None:
        self._require_claim()
        self._target.create(name, data, crc32c, origin=origin)

    def overwrite(self, name: str, data: bytes) -> None:
        self._require_claim()
        self._target.overwrite(name, data)

    def delete(self, name: str, *, generation: str | None = None) -> None:
        self._require_claim()
        self._target.delete(name, generation=generation)

    def close(self) -> None:
        self._target.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _require_claim(self) -> None:
        found = self._target.entries(CLAIM).get(CLAIM)
        if found is None or found.crc32c != self._crc32c:
            raise BusyError(
                f"{self.uri} was taken over by another conversion (its {CLAIM} is no longer this"
                " one's); wait for it, or choose another directory"
            )
