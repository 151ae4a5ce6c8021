"""`DST/.partial`: where a local conversion grows, under a lock, until it is renamed.

Locks are held by open files, so they end with their process, however it ends. One Task of one
holds the directory alone; Tasks of several share it, each alone on its own share.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from saxflow import layout
from saxflow.checkpoint.local_directory import LocalDirectory, translated
from saxflow.conversion.report import REPORT, read_report
from saxflow.conversion.task import Share
from saxflow.errors import BusyError, InputError

PARTIAL = ".partial"
FINGERPRINT = "fingerprint"


def sweep(root: Path, fingerprint: str) -> None:
    """Remove what a run that was killed after its root marker left behind."""
    if (root / PARTIAL).exists():
        with (
            suppress(BusyError),  # then its owner is still at it
            Partial(root, fingerprint, Share(), overwrite=False) as partial,
        ):
            shutil.rmtree(partial.folder)


class Partial:
    """The growing conversion of one destination; a context manager that holds the locks.

    Args:
        root: DST.
        fingerprint: of the conversion.
        overwrite: whether what another fingerprint left behind may be deleted.

    Raises:
        BusyError: another process converts into DST; the message names its pid.
        InputError: DST holds a conversion of another fingerprint.
    """

    def __init__(self, root: Path, fingerprint: str, share: Share, *, overwrite: bool) -> None:
        self.folder = root / PARTIAL
        self._root = root
        self._fingerprint = fingerprint
        self._share = share
        self._overwrite = overwrite
        self._locks = ExitStack()

    def __enter__(self) -> Self:
        with translated(str(self._root)):
            self._lock()
        try:
            self._settle()
        except BaseException:
            if not (self.folder / FINGERPRINT).exists():
                shutil.rmtree(self.folder)
            self._locks.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._locks.close()

    @property
    def renamed(self) -> bool:
        """Whether a run before this one was stopped between its rename and its root marker."""
        return self._step.exists() and not (self.folder / layout.STEP_DIRECTORY).exists()

    @contextmanager
    def committing(self) -> Generator[bool]:
        """Hold the right to commit; yields False when another Task has committed meanwhile."""
        if not self.folder.exists():
            yield False
            return
        path = self.folder / "commit.lock"
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield path.exists()

    def rename(self) -> None:
        """Give report and step directory their final places, in this order."""
        os.replace(self.folder / REPORT, self._root / REPORT)
        os.rename(self.folder / layout.STEP_DIRECTORY, self._step)

    def finish(self) -> None:
        """Write the root marker and remove what is left of the work."""
        marker = layout.MARKERS[-1]
        text = layout.marker_texts(str(self._root))[marker]
        with LocalDirectory(self.folder) as directory:
            directory.overwrite(marker, text)
        os.replace(self.folder / marker, self._step / marker)
        shutil.rmtree(self.folder)

    @property
    def _step(self) -> Path:
        return self._root / layout.STEP_DIRECTORY

    def _lock(self) -> None:
        alone = self._share.count == 1
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            held = ExitStack()
            try:
                self._hold(held, "lock", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
                if not alone:
                    self._hold(held, f"{self._share.name}.lock", fcntl.LOCK_EX)
            except FileNotFoundError:
                held.close()  # another run finished and removed the directory meanwhile
                continue
            self._locks = held
            return

    def _hold(self, held: ExitStack, name: str, kind: int) -> None:
        path = self.folder / name
        file = held.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            raise BusyError(
                f"{self._root} is being written by another saxflow convert (pid {self._pids()});"
                " wait for it or choose another directory"
            ) from None
        if os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
            raise FileNotFoundError(path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()

    def _pids(self) -> str:
        texts = (path.read_text() for path in sorted(self.folder.glob("*lock")))
        return ", ".join(dict.fromkeys(text for text in texts if text)) or "unknown"

    def _settle(self) -> None:
        """Make the directory one of this fingerprint."""
        found = None if self._overwrite else self._found_fingerprint()
        if found == self._fingerprint:
            return
        if found is not None:
            raise InputError(
                f"{self._root} holds a conversion with fingerprint {found}, this one has"
                f" {self._fingerprint} (other weights, dtype or mesh); choose another directory"
                " or give --overwrite"
            )
        if self._overwrite:
            self._clear()
        (self.folder / FINGERPRINT).write_text(self._fingerprint)

    def _found_fingerprint(self) -> str | None:
        path = self.folder / FINGERPRINT
        if path.exists() and path.read_text():
            return path.read_text()
        with LocalDirectory(self._root) as directory:
            report = read_report(directory)
        if report is not None:
            return report.fingerprint
        return "unknown" if self._step.exists() else None

    def _clear(self) -> None:
        """Delete an old checkpoint, its root marker first, and old unfinished work."""
        (self._step / layout.MARKERS[-1]).unlink(missing_ok=True)
        (self._root / REPORT).unlink(missing_ok=True)
        for path in (self._step, self.folder / layout.STEP_DIRECTORY, self.folder / "tasks"):
            if path.exists():
                shutil.rmtree(path)
