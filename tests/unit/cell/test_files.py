"""A cell's files on disk; the same on gs:// is tested against the local cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from saxflow.cell.files import LocalDirectory, StateFile, announce, cell_directory, create_cell
from saxflow.errors import ConfigurationError, IntegrityError
from saxflow.sax import messages as m
from saxflow.sax.names import CellName
from saxflow.sax.roots import SaxRoot

CELL = CellName("test")


def test_a_cell_is_made_once_and_keeps_its_fs_root(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    create_cell(root, CELL, "/state")
    create_cell(root, CELL, "/state/")
    assert SaxRoot(root).config(CELL).fs_root == "/state"
    with pytest.raises(ConfigurationError, match="'/state', not in '/other'"):
        create_cell(root, CELL, "/other")


def test_an_announced_admin_is_found(tmp_path: Path) -> None:
    create_cell(str(tmp_path), CELL, "/state")
    announce(str(tmp_path), CELL, "127.0.0.1:1")
    announce(str(tmp_path), CELL, "127.0.0.1:2")
    assert SaxRoot(str(tmp_path)).location(CELL) == "127.0.0.1:2"


def test_state_survives_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    directory = cell_directory(f"file://{tmp_path}", CELL)
    directory.create()
    state = StateFile(directory)
    assert state.read() == []
    models = [m.Model(model_id="/sax/test/m", uuid=b"0123456789abcdef")]
    state.write(models)
    assert state.read() == models
    assert [path.name for path in (tmp_path / "sax/test").iterdir()] == ["state.proto"]


def test_damaged_state_is_told(tmp_path: Path) -> None:
    directory = cell_directory(str(tmp_path), CELL)
    directory.create()
    directory.write("state.proto", b"\xff\xff")
    with pytest.raises(IntegrityError, match=r"state\.proto of the cell is damaged"):
        StateFile(directory).read()


def test_a_missing_file_reads_as_none(tmp_path: Path) -> None:
    assert LocalDirectory(tmp_path).read("nothing") is None
