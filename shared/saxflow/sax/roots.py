"""A cell's files below sax-root, on gs:// or in a local directory.

`<root>/sax/<cell>/config.proto` and `location.proto` are binary messages. On gs:// there are no
directories, so SAX marks one with an empty object `METADATA`; a cell exists iff it is there.

Source: google/saxml v1.1.0 `saxml/common/{cell,addr,config}.go`, `saxml/common/platform/cloud.go`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from saxflow.errors import InputError, NotFoundError, ProtocolError
from saxflow.gcp.objects import Objects, Uri
from saxflow.sax import messages as m
from saxflow.sax.names import CellName

_Kind = TypeVar("_Kind", bound=Message)

LOCATION_FILE = "location.proto"
CONFIG_FILE = "config.proto"
METADATA_FILE = "METADATA"


class Files(Protocol):
    """Small files below one root."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None when it is not there."""
        ...

    def is_directory(self, name: str) -> bool:
        """Return whether SAX would take `name` for a directory."""
        ...


class LocalFiles:
    """A root on a local disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None when it is not there."""
        try:
            return (self._root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_directory(self, name: str) -> bool:
        """Return whether there is such a directory."""
        return (self._root / name).is_dir()


class BucketFiles:
    """A root in Cloud Storage; credentials are looked for when it is first read.

    Raises:
        ConfigurationError: on the first read: there are no credentials.
    """

    def __init__(self, root: Uri) -> None:
        self._root = root

    @cached_property
    def _objects(self) -> Objects:
        return Objects()

    def read(self, name: str) -> bytes | None:
        """Return an object's content, None when it is not there."""
        try:
            return self._objects.read(self._root.child(name)).data
        except NotFoundError:
            return None

    def is_directory(self, name: str) -> bool:
        """Return whether `METADATA` lies below the name."""
        return self._objects.stat(self._root.child(f"{name}/{METADATA_FILE}")) is not None


class SaxRoot:
    """Discovery: from a sax-root and a cell to the address of its admin server."""

    def __init__(self, text: str) -> None:
        """Take `gs://bucket/prefix`, `file:///directory` or a local directory.

        Raises:
            InputError: it is none of these.
        """
        self.text = text
        self._files = open_files(text)

    def location(self, cell: CellName) -> str:
        """Return `host:port` of the admin that announced itself last.

        Raises:
            NotFoundError: there is no such cell, or no admin has ever announced itself.
            ProtocolError: the file is not a sax.Location.
        """
        data = self._read(cell, LOCATION_FILE)
        if data is None:
            raise NotFoundError(
                f"cell {cell} below {self.text} has no {LOCATION_FILE}: no admin server has"
                " announced itself yet"
            )
        location = _decoded(m.Location, data, f"{self.text}/sax/{cell.cell}/{LOCATION_FILE}")
        if not location.location:
            raise ProtocolError(f"{self.text}/sax/{cell.cell}/{LOCATION_FILE} holds no address")
        return location.location

    def config(self, cell: CellName) -> m.Config:
        """Return the cell's configuration.

        Raises:
            NotFoundError: there is no such cell, or it was never configured.
            ProtocolError: the file is not a sax.Config.
        """
        data = self._read(cell, CONFIG_FILE)
        if data is None:
            raise NotFoundError(f"cell {cell} below {self.text} has no {CONFIG_FILE}")
        return _decoded(m.Config, data, f"{self.text}/sax/{cell.cell}/{CONFIG_FILE}")

    def _read(self, cell: CellName, name: str) -> bytes | None:
        directory = f"sax/{cell.cell}"
        if not self._files.is_directory(directory):
            raise NotFoundError(
                f"there is no cell {cell} below {self.text}; give the directory that the admin"
                " server was started with as sax-root"
            )
        return self._files.read(f"{directory}/{name}")


def open_files(text: str) -> Files:
    """Return the files below a root.

    Raises:
        InputError: the root is neither gs://, file:// nor a path.
    """
    scheme, separator, rest = text.partition("://")
    if not text or (separator and scheme not in ("gs", "file")):
        raise InputError(f"sax-root {text!r} is neither gs://bucket/prefix nor a directory")
    if scheme == "gs" and separator:
        place = Uri.parse(text)
        return BucketFiles(Uri(place.bucket, place.name.rstrip("/")))
    return LocalFiles(Path(rest if separator else text))


def _decoded(kind: type[_Kind], data: bytes, where: str) -> _Kind:
    try:
        message = kind()
        message.ParseFromString(data)
        return message
    except DecodeError as error:
        raise ProtocolError(f"{where} is not a sax.{kind.__name__} message") from error
