import errno
import os

import pytest

from saxflow.checkpoint.local_directory import LocalDirectory, translated
from saxflow.errors import ConfigurationError, InputError, NotFoundError, TransientError


@pytest.mark.parametrize(
    ("number", "kind", "exit_code"),
    [
        (errno.ENOENT, NotFoundError, 4),
        (errno.EACCES, InputError, 3),
        (errno.EISDIR, InputError, 3),
        (errno.ENOTDIR, InputError, 3),
        (errno.ENOSPC, ConfigurationError, 1),
        (errno.EROFS, ConfigurationError, 1),
        (errno.EIO, TransientError, 6),
    ],
)
def test_what_the_system_refuses_has_a_name_and_an_exit_code(number, kind, exit_code):
    with pytest.raises(kind, match="/some/file") as caught, translated("/some/file"):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == exit_code


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(ConfigurationError, match=r"a/b: no space left on device; choose another"):
        LocalDirectory(tmp_path).overwrite("a/b", b"x")
    monkeypatch.undo()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_directory_below_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="file exists"):
        LocalDirectory(tmp_path / "file").overwrite("a", b"x")
    assert LocalDirectory(tmp_path / "file").entries() == {}


def test_nothing_temporary_is_left_among_the_files(tmp_path):
    directory = LocalDirectory(tmp_path)
    directory.overwrite("deep/er/name", b"x")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        "deep/er/name"
    ]
