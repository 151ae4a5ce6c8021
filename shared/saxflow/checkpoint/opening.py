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
        InputError: the URI has another scheme, or names a file.
    """
    if uri.startswith("gs://"):
        from saxflow.checkpoint.cloud_directory import CloudDirectory  # loads an HTTP client

        return CloudDirectory(uri)
    path = local_path(uri)
    if path.is_file():
        raise InputError(f"{uri} is a file; give a directory")
    return LocalDirectory(path)


def local_path(uri: str) -> Path:
    """Return the path of a local directory given as a path or a file:// URI.

    Raises:
        InputError: the URI has another scheme, names another host, or is no path in UTF-8.
    """
    path = uri if "://" not in uri else _path_of_uri(uri)
    if not path or "\0" in path or any("\ud800" <= letter <= "\udfff" for letter in path):
        raise InputError(f"{uri!r} is no path; give the name of a directory, in UTF-8")
    return Path(path)


def _path_of_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise InputError(f"{uri!r} is neither a local path nor file:///path nor gs://bucket/prefix")
    return unquote(parts.path)
