import errno
import fcntl
import mmap
import os
import random

import pytest

from saxflow.checkpoint.local_directory import UNBUFFERED_BYTES, LocalDirectory, translated
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
        (errno.EFBIG, ConfigurationError, 1),
        (errno.ELOOP, InputError, 3),
        (errno.ENAMETOOLONG, InputError, 3),
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


def test_only_regular_files_are_listed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert list(LocalDirectory(tmp_path).entries()) == ["file", "link"]


def test_nothing_temporary_is_left_among_the_files(tmp_path):
    directory = LocalDirectory(tmp_path)
    directory.overwrite("deep/er/name", b"x")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == [
        "deep/er/name"
    ]


@pytest.mark.parametrize("extra", [0, 1, 4096, 5000])
@pytest.mark.parametrize("offset", [0, 2])
def test_large_files_hold_every_byte_whatever_their_size_and_alignment(tmp_path, extra, offset):
    size = UNBUFFERED_BYTES + extra
    memory = mmap.mmap(-1, size + offset)
    memory.write(random.Random(extra).randbytes(size + offset))
    data = memoryview(memory)[offset:]
    LocalDirectory(tmp_path).create("chunk", [data], crc32c=0)
    assert (tmp_path / "chunk").read_bytes() == data


def test_a_file_system_that_allows_no_unbuffered_writes(tmp_path, monkeypatch):
    control = fcntl.fcntl

    def refuse(descriptor, command, argument=0):
        if argument & getattr(os, "O_DIRECT", 0):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return control(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    data = bytes(UNBUFFERED_BYTES)
    LocalDirectory(tmp_path).create("chunk", [data], crc32c=0)
    assert (tmp_path / "chunk").read_bytes() == data


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_only_a_file_system_that_knows_no_flush_goes_without(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, os.strerror(number))

    directory = LocalDirectory(tmp_path)
    directory.overwrite("a/b", b"x")
    directory.persist(["a/b"])
    monkeypatch.setattr(os, "fsync", refuse)
    if number == errno.EIO:
        with pytest.raises(TransientError, match="a/b: input/output error"):
            directory.persist(["a/b"])
    else:
        directory.persist(["a/b"])


def test_a_disk_that_fills_up_midway_leaves_no_half_file(tmp_path, monkeypatch):
    write = os.write

    def fill_up(descriptor, data):
        if os.fstat(descriptor).st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:4096])

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(ConfigurationError, match="no space left"):
        LocalDirectory(tmp_path).create("chunk", [mmap.mmap(-1, UNBUFFERED_BYTES)], crc32c=0)
    monkeypatch.undo()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
