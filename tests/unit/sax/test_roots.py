"""Discovery through files."""

from __future__ import annotations

from pathlib import Path

import pytest

from saxflow.errors import InputError, NotFoundError, ProtocolError
from saxflow.sax import messages as m
from saxflow.sax.names import CellName
from saxflow.sax.roots import BucketFiles, LocalFiles, SaxRoot, open_files

CELL = CellName("test")


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    directory = tmp_path / "sax/test"
    directory.mkdir(parents=True)
    (directory / "location.proto").write_bytes(m.Location(location="h:1").SerializeToString())
    (directory / "config.proto").write_bytes(m.Config(fs_root="/fs").SerializeToString())
    return directory


def test_files_of_a_cell(tmp_path: Path, cell: Path) -> None:
    for root in (str(tmp_path), f"{tmp_path}/", f"file://{tmp_path}"):
        assert SaxRoot(root).location(CELL) == "h:1"
        assert SaxRoot(root).config(CELL).fs_root == "/fs"


def test_the_recorded_files_of_a_real_cell(tmp_path: Path, cell: Path) -> None:
    (cell / "location.proto").write_bytes(bytes.fromhex("0a0f31302e37372e302e313a3130303430"))
    (cell / "config.proto").write_bytes(bytes.fromhex("0a1267733a2f2f622f7361782d66732d726f6f74"))
    assert SaxRoot(str(tmp_path)).location(CELL) == "10.77.0.1:10040"
    assert SaxRoot(str(tmp_path)).config(CELL).fs_root == "gs://b/sax-fs-root"


def test_no_cell_and_no_admin_are_told_apart(tmp_path: Path, cell: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no cell /sax/other"):
        SaxRoot(str(tmp_path)).location(CellName("other"))
    (cell / "location.proto").unlink()
    (cell / "config.proto").unlink()
    with pytest.raises(NotFoundError, match="no admin server has announced itself"):
        SaxRoot(str(tmp_path)).location(CELL)
    with pytest.raises(NotFoundError, match=r"no config\.proto"):
        SaxRoot(str(tmp_path)).config(CELL)


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff"])
def test_rubbish_is_named(tmp_path: Path, cell: Path, data: bytes) -> None:
    (cell / "location.proto").write_bytes(data)
    with pytest.raises(ProtocolError, match=r"location\.proto"):
        SaxRoot(str(tmp_path)).location(CELL)


@pytest.mark.parametrize("root", ["", "s3://b/x", "gs://", "http://x"])
def test_other_roots_are_refused(root: str) -> None:
    with pytest.raises(InputError):
        open_files(root)


def test_roots_by_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "local")
    assert isinstance(open_files("gs://b/sax-root/"), BucketFiles)
    assert isinstance(open_files(str(tmp_path)), LocalFiles)
