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
from typing import Self

from saxflow import layout
from saxflow.checkpoint.local_directory import LocalDirectory, translated
from saxflow.conversion.report import REPORT, read_report
from saxflow.conversion.task import Share
from saxflow.errors import BusyError, InputError

PARTIAL = ".partial"
FINGERPRINT = "fingerprint"
_TASK_LOCK = ".lock"


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
            while not self._entered():
                pass
        return self

    def __exit__(self, *_: object) -> None:
        self._locks.close()

    @property
    def renamed(self) -> bool:
        """Whether a run before this one was stopped between its rename and its root marker."""
        return self._step.exists() and not (self.folder / layout.STEP_DIRECTORY).exists()

    @contextmanager
    def committing(self) -> Generator[bool]:
        """Hold the right to commit; yields False when another Task has committed meanwhile."""
        path = self.folder / "commit.lock"
        with ExitStack() as held:
            try:
                file = held.enter_context(path.open("a"))
            except FileNotFoundError:
                yield False
                return
            fcntl.flock(file, fcntl.LOCK_EX)
            yield path.exists()

    def rename(self) -> None:
        """Give report and step directory their final places, in this order."""
        os.replace(self.folder / REPORT, self._root / REPORT)
        os.rename(self.folder / layout.STEP_DIRECTORY, self._step)
        with LocalDirectory(self._root) as directory:
            directory.persist([REPORT])

    def finish(self) -> None:
        """Write the root marker and remove what is left of the work."""
        marker = layout.MARKERS[-1]
        text = layout.marker_texts(str(self._root))[marker]
        with LocalDirectory(self.folder) as directory:
            directory.overwrite(marker, text)
            directory.persist([marker])
        os.replace(self.folder / marker, self._step / marker)
        with LocalDirectory(self._root) as directory:
            directory.persist([f"{layout.STEP_DIRECTORY}/{marker}"])
        shutil.rmtree(self.folder)

    @property
    def _step(self) -> Path:
        return self._root / layout.STEP_DIRECTORY

    def _entered(self) -> bool:
        """Lock and settle; return False when another run removed the directory meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                self._lock(held)
                self._settle()
            except FileNotFoundError:
                return False
            self._locks = held.pop_all()
        return True

    def _lock(self, held: ExitStack) -> None:
        alone = self._share.count == 1
        self._hold(held, "lock", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            self._hold(held, f"{self._share.name}{_TASK_LOCK}", fcntl.LOCK_EX)

    def _hold(self, held: ExitStack, name: str, kind: int) -> None:
        path = self.folder / name
        file = held.enter_context(path.open("a+"))
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._busy() from None
        if os.stat(path).st_ino != os.fstat(file.fileno()).st_ino:
            raise FileNotFoundError(path)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()

    def _busy(self) -> BusyError:
        texts = (path.read_text(errors="replace") for path in sorted(self.folder.glob("*lock")))
        pids = ", ".join(dict.fromkeys(text for text in texts if text)) or "unknown"
        return BusyError(
            f"{self._root} is being written by another saxflow convert (pid {pids});"
            " wait for it or choose another directory"
        )

    def _settle(self) -> None:
        """Make the directory one of this fingerprint, one Task after the other."""
        with (self.folder / "settle.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                self._overwrite_others() if self._overwrite else self._require_ours()
            except BaseException:
                if not (self.folder / FINGERPRINT).exists():
                    shutil.rmtree(self.folder)
                raise
            (self.folder / FINGERPRINT).write_text(self._fingerprint)

    def _require_ours(self) -> None:
        found = self._started() or self._finished()
        if found not in (None, self._fingerprint):
            raise InputError(
                f"{self._root} holds a conversion with fingerprint {found}, this one has"
                f" {self._fingerprint} (other weights, dtype or mesh); choose another directory"
                " or give --overwrite"
            )

    def _started(self) -> str:
        """Return the fingerprint of unfinished work, empty when there is none."""
        path = self.folder / FINGERPRINT
        return path.read_text(errors="replace") if path.exists() else ""

    def _finished(self) -> str | None:
        with LocalDirectory(self._root) as directory:
            report = read_report(directory)
        if report is not None:
            return report.fingerprint
        return "unknown" if self._step.exists() else None

    def _overwrite_others(self) -> None:
        """Clear the place, unless another Task of this very conversion has done so."""
        if self._share.count > 1 and self._started() == self._fingerprint:
            return
        self._require_idle()
        self._clear()

    def _require_idle(self) -> None:
        for path in self.folder.glob(f"*-of-*{_TASK_LOCK}"):
            if path.name == f"{self._share.name}{_TASK_LOCK}":
                continue
            with path.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise self._busy() from None

    def _clear(self) -> None:
        """Delete an old checkpoint, its root marker first, and old unfinished work."""
        (self._step / layout.MARKERS[-1]).unlink(missing_ok=True)
        (self._root / REPORT).unlink(missing_ok=True)
        for path in (self._step, self.folder / layout.STEP_DIRECTORY, self.folder / "tasks"):
            if path.exists():
                shutil.rmtree(path)
