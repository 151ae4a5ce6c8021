"""Stage a function for upload: its entry point, its requirements, and the saxflow it may import.

The package itself is never listed in `requirements.txt`: the buildpack caches that layer by the
file's text, so a changed saxflow would not be installed.

    python -m saxflow.stack.staging FUNCTION DIRECTORY
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import saxflow
from saxflow import bundled
from saxflow.errors import InputError

FUNCTIONS = ("on_manifest", "commit_checkpoint", "publish_model", "reconcile", "generate")
LEFT_OUT = ("assets", "cell", "checkpoint", "cli", "conversion", "local", "stack")
"""Rooms of the package that no function imports; an architecture test holds functions to it."""

ASSETS = ("tpu/bootstrap.sh", "tpu/startup.sh")


def stage(function: str, directory: Path) -> Path:
    """Fill an empty or absent directory with what `gcloud functions deploy --source` uploads.

    Raises:
        InputError: there is no such function, or the directory holds something.
    """
    if function not in FUNCTIONS:
        raise InputError(f"function {function!r} is none of {', '.join(FUNCTIONS)}")
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{directory} is not empty; stage into a new directory")
    shutil.copytree(
        bundled.path(f"functions/{function}"),
        directory,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    package = Path(saxflow.__file__).parent
    shutil.copytree(
        package,
        directory / "saxflow",
        ignore=_ignore_rooms(package),
    )
    for asset in ASSETS:
        target = directory / "saxflow" / "assets" / asset
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundled.path(asset), target)
    return directory


def _ignore_rooms(package: Path) -> Callable[[str, list[str]], set[str]]:
    def ignored(directory: str, names: list[str]) -> set[str]:
        rooms = set(LEFT_OUT) if Path(directory) == package else set[str]()
        return {name for name in names if name in rooms or name == "__pycache__"}

    return ignored


def main(arguments: list[str]) -> int:
    """Stage one function."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m saxflow.stack.staging FUNCTION DIRECTORY\n")
        return 2
    try:
        stage(arguments[0], Path(arguments[1]))
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
