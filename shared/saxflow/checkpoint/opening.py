"""Open a directory by what a person calls it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from saxflow.checkpoint.directory import Directory
from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.errors import InputError


def open_directory(uri: str) -> Directory:
    """Open a directory by local path, `file:///path` or `gs://bucket/prefix`.

    Raises:
        InputError: the URI has another scheme.
    """
    if uri.startswith("gs://"):
        from saxflow.checkpoint.cloud_directory import CloudDirectory  # loads an HTTP client

        return CloudDirectory(uri)
    return LocalDirectory(local_path(uri))


def local_path(uri: str) -> Path:
    """Return the path of a local directory given as a path or a file:// URI.

    Raises:
        InputError: the URI has another scheme or names another host.
    """
    if "://" not in uri:
        return Path(uri)
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise InputError(f"{uri!r} is neither a local path nor file:///path nor gs://bucket/prefix")
    return Path(unquote(parts.path))
