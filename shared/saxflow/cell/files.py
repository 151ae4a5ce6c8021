"""Write the files through which the members of a cell find each other; `sax.roots` reads them.

`<sax_root>/sax/<cell>/{config,location}.proto` and `<fs_root>/sax/<cell>/state.proto`; on gs:// each
directory also holds an empty object `METADATA`, which is what makes it exist.

Source: google/saxml v1.1.0 `common/{cell,config,state,addr}.go`, `common/platform/cloud.go`.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from saxflow.errors import ConfigurationError, IntegrityError, NotFoundError
from saxflow.gcp.objects import Objects, Uri
from saxflow.sax import messages as m
from saxflow.sax.names import CellName
from saxflow.sax.roots import CONFIG_FILE, LOCATION_FILE, METADATA_FILE, SaxRoot

STATE_FILE = "state.proto"


class Directory(Protocol):
    """A directory of small files that are replaced whole."""

    def create(self) -> None:
        """Make the directory exist."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None when there is no such file."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace a file; a reader sees the old content or the new."""
        ...


@dataclass(frozen=True)
class LocalDirectory:
    """A directory on disk; files appear by rename."""

    path: Path

    def create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        temporary = self.path / f"{name}.{secrets.token_hex(8)}"
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / name)


@dataclass(frozen=True)
class ObjectDirectory:
    """A prefix in a bucket."""

    uri: Uri
    objects: Objects

    def create(self) -> None:
        self.write(METADATA_FILE, b"")

    def read(self, name: str) -> bytes | None:
        try:
            return self.objects.read(self.uri.child(name)).data
        except NotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        self.objects.write(
            self.uri.child(name),
            data,
            if_generation=None,
            content_type="application/octet-stream",
        )


def cell_directory(root: str, cell: CellName) -> Directory:
    """Return a cell's directory below a root, which is a path, file:/// or gs:// URI."""
    if root.startswith("gs://"):
        uri = Uri.parse(root.rstrip("/"))
        return ObjectDirectory(uri.child(str(cell).lstrip("/")), Objects())
    return LocalDirectory(Path(f"{root.removeprefix('file://').rstrip('/')}{cell}").absolute())


def create_cell(sax_root: str, cell: CellName, fs_root: str) -> None:
    """Make a cell, keeping a configuration that is already there.

    Raises:
        ConfigurationError: the cell exists with another fs_root.
    """
    directory = cell_directory(sax_root, cell)
    directory.create()
    try:
        held = SaxRoot(sax_root).config(cell).fs_root
    except NotFoundError:
        directory.write(CONFIG_FILE, m.Config(fs_root=fs_root).SerializeToString())
        return
    if held.rstrip("/") != fs_root.rstrip("/"):
        raise ConfigurationError(
            f"cell {cell} keeps its state in {held!r}, not in {fs_root!r}; FS root can't be changed"
        )


def announce(sax_root: str, cell: CellName, address: str) -> None:
    """Tell every member of the cell where its admin is."""
    location = m.Location(location=address).SerializeToString()
    cell_directory(sax_root, cell).write(LOCATION_FILE, location)


@dataclass(frozen=True)
class StateFile:
    """Published models, kept over a restart of the admin."""

    directory: Directory

    def read(self) -> list[m.Model]:
        """Return the models published before, none at the first start.

        Raises:
            IntegrityError: the file is damaged.
        """
        data = self.directory.read(STATE_FILE)
        try:
            return [] if data is None else list(m.State.FromString(data).models)
        except DecodeError as error:
            raise IntegrityError(
                f"{STATE_FILE} of the cell is damaged; remove it and publish the models again"
            ) from error

    def write(self, models: list[m.Model]) -> None:
        """Replace the state."""
        self.directory.write(STATE_FILE, m.State(models=models).SerializeToString())
