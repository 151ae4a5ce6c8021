"""Directories on a local disk: positional reads, files created by temporary name and rename.

Temporary files lie at the top of the directory, so that what a killed process leaves behind is never
among the files of a checkpoint.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from saxflow.checkpoint.directory import Buffer, Entry
from saxflow.errors import (
    ConfigurationError,
    InputError,
    IntegrityError,
    NotFoundError,
    TransientError,
)

TEMPORARY_SUFFIX = ".tmp"
WRITE_BYTES = 1 << 20
"""Written at once through the page cache, which answers larger writes with huge pages, slowly."""

UNBUFFERED_BYTES = 8 << 20
"""From this size on a file bypasses the page cache, where disk and alignment allow it."""

_BLOCK_BYTES = 4096
_PERSISTING_THREADS = 8


class LocalDirectory:
    """A directory on disk; safe to use from several threads."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        return str(self.root)

    def entries(self, prefix: str = "", *, recursive: bool = True) -> dict[str, Entry]:
        top = self.root / prefix.rpartition("/")[0]
        found: dict[str, Entry] = {}
        with translated(str(top)), suppress(FileNotFoundError, NotADirectoryError):
            for name, status in _walk(top, recursive):
                relative = os.path.relpath(name, self.root)
                if relative.startswith(prefix):
                    found[relative] = Entry(status.st_size, changed=str(status.st_mtime_ns))
        return dict(sorted(found.items()))

    def read(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        with translated(self._name(name)), self._opened(name) as descriptor:
            if size is None:
                size = max(os.fstat(descriptor).st_size - start, 0)
            return os.pread(descriptor, size, start)

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        with translated(self._name(name)), self._opened(name) as descriptor:
            done = 0
            while done < len(buffer):
                count = os.preadv(descriptor, [buffer[done:]], start + done)
                if count == 0:
                    raise IntegrityError(
                        f"{self._name(name)} ends at byte {start + done};"
                        f" {len(buffer) - done} more were expected"
                    )
                done += count

    def create(self, name: str, data: Sequence[Buffer], crc32c: int, *, origin: str = "") -> None:
        del crc32c, origin  # a local disk has no place for them; journal and report keep them
        self._replace(name, data)

    def overwrite(self, name: str, data: bytes) -> None:
        self._replace(name, [data])

    def delete(self, name: str, *, generation: str | None = None) -> None:
        del generation  # files have none
        with translated(self._name(name)):
            (self.root / name).unlink(missing_ok=True)

    def persist(self, names: Iterable[str]) -> None:
        """Return once these files survive a crash of the machine, under these names.

        Raises:
            SaxflowError: the disk failed; a file system that knows no flush is no failure.
        """
        paths = [self.root / name for name in names]
        folders = {folder for path in paths for folder in path.parents if self._holds(folder)}
        with ThreadPoolExecutor(_PERSISTING_THREADS) as pool:
            for group in (paths, folders):
                list(pool.map(_persist, group))

    def close(self) -> None:
        """Nothing is kept open between calls."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace(self, name: str, data: Sequence[Buffer]) -> None:
        final = self.root / name
        temporary = self.root / f".{os.getpid()}-{threading.get_ident()}{TEMPORARY_SUFFIX}"
        with translated(self._name(name)):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(temporary, data)
                os.replace(temporary, final)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise

    def _holds(self, folder: Path) -> bool:
        return folder == self.root or self.root in folder.parents

    @contextmanager
    def _opened(self, name: str) -> Generator[int]:
        descriptor = os.open(self.root / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _name(self, name: str) -> str:
        return str(self.root / name)


def _walk(top: Path, recursive: bool) -> Iterator[tuple[str, os.stat_result]]:
    """Yield regular files with their status; what vanishes meanwhile or leads nowhere is left out."""
    with os.scandir(top) as found:
        for entry in found:
            with suppress(FileNotFoundError):
                if entry.is_file():
                    yield entry.path, entry.stat()
                elif recursive and entry.is_dir():
                    yield from _walk(Path(entry.path), recursive)


def _persist(path: Path) -> None:
    with translated(str(path)):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system without flushes
                raise
        finally:
            os.close(descriptor)


def _write(path: Path, data: Sequence[Buffer]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        for piece in data:
            view = memoryview(piece).cast("B")
            if len(data) == 1 and len(view) >= UNBUFFERED_BYTES:
                view = view[_write_unbuffered(descriptor, view) :]
            while view:
                view = view[os.write(descriptor, view[:WRITE_BYTES]) :]
    finally:
        os.close(descriptor)


def _write_unbuffered(descriptor: int, view: memoryview) -> int:
    """Write whole blocks past the page cache and return how many bytes that were.

    What a conversion writes is more than memory holds, and it reads none of it again: in the cache
    it would cost a copy, and the source its place there.
    """
    unbuffered = getattr(os, "O_DIRECT", 0)  # Linux alone has it
    whole = len(view) - len(view) % _BLOCK_BYTES if unbuffered else 0
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    done = 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | unbuffered)
        while done < whole:
            done += os.write(descriptor, view[done:whole])
    except OSError as error:
        if error.errno != errno.EINVAL:  # this file system, or this buffer's alignment, forbids it
            raise
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
    return done


@contextmanager
def translated(what: str) -> Generator[None]:
    """Re-raise what the operating system refuses as saxflow's own errors.

    Args:
        what: names the file, starts the message.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{what} does not exist") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{what}: {(error.strerror or '').lower()}") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise InputError(f"{what}: {(error.strerror or '').lower()}") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise ConfigurationError(
                f"{what}: {(error.strerror or '').lower()}; choose another disk or make room"
            ) from error
        raise TransientError(f"{what}: {(error.strerror or str(error)).lower()}") from error
