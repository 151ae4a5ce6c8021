"""Files that are replaced whole: whoever reads one, even after a crash, finds the old or the new."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def replace_file(path: Path, content: bytes | str, *, mode: int = 0o666) -> None:
    """Write a file in one step; text as UTF-8.

    Args:
        mode: permissions, less the umask's.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    data = content.encode() if isinstance(content, str) else content
    fresh = path.with_name(f".{os.getpid()}-{threading.get_ident()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
