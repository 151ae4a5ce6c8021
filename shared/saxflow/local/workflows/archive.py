"""Keep messages of a service as JSON files below a directory, one per resource name.

A file is replaced as a whole and a directory removed in one step, so a reader after a crash finds the
old state or the new one.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from saxflow.local.replacing import replace_file

Record = dict[str, Any]

_REMOVED = ".removed"
_LOG = logging.getLogger(__name__)


class Archive:
    """Records by resource name (`projects/p/locations/l/workflows/w`).

    Args:
        root: directory; made when it is first needed.
        filename: of the record within the resource's directory.
    """

    def __init__(self, root: Path, filename: str) -> None:
        self._root = root
        self._filename = filename

    def path(self, name: str) -> Path:
        """Return the file of a resource."""
        return self._root / name / self._filename

    def put(self, name: str, record: Record) -> None:
        """Write or replace a record."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(record, ensure_ascii=False))

    def remove(self, name: str) -> None:
        """Forget a resource and everything below it."""
        removed = self._root / _REMOVED / uuid.uuid4().hex
        removed.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self._root / name).rename(removed)
        except FileNotFoundError:
            return
        shutil.rmtree(removed, ignore_errors=True)

    def load(self) -> Iterator[Record]:
        """Yield every record, in the order of names; a damaged file is logged and left out."""
        shutil.rmtree(self._root / _REMOVED, ignore_errors=True)
        for path in sorted(self._root.rglob(self._filename)):
            try:
                yield json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                _LOG.warning("%s is damaged and left out: %s", path, error)
