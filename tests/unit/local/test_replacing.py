import os
import stat
from pathlib import Path

import pytest

from saxflow.local.replacing import replace_file


def test_the_new_content_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, "é")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(path, b"x")
    assert os.listdir(tmp_path) == ["state.json"]


def test_the_mode_is_the_files_from_its_first_byte(tmp_path: Path) -> None:
    replace_file(tmp_path / "secret", b"x", mode=0o600)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
