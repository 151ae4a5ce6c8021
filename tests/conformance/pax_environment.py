"""Find a python3.10 and give it the pinned Pax stack, once per list of pins.

Pax installs on Python 3.10 only, so it cannot live in this project's environment. The environment
(2.3 GB) is built below the user's cache directory, named for the digest of
`requirements-pax.txt`, under a lock and renamed into place when it is complete.

Run by itself it prints one JSON line: {"python": path} or {"unavailable": reason}.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements-pax.txt")
NAME = "python3.10"
PROBE = "import ensurepip, sys, venv; print(sys.version_info[:2] == (3, 10))"
PROBE_SECONDS = 30
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME")
KEPT_PREFIXES = ("PIP_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy")


class PaxUnavailableError(Exception):
    """The Pax environment cannot be had on this machine; the text says why."""


def clean_environment() -> dict[str, str]:
    """Return the variables a foreign interpreter may see: none of this environment's own."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }


def candidates() -> Iterator[Path]:
    """Yield every file named python3.10 on PATH, then below pyenv's versions, newest first."""
    for folder in os.get_exec_path():
        yield Path(folder) / NAME
    for root in _pyenv_roots():
        yield from sorted(root.glob(f"versions/3.10*/bin/{NAME}"), reverse=True)


def _pyenv_roots() -> Iterator[Path]:
    if "PYENV_ROOT" in os.environ:
        yield Path(os.environ["PYENV_ROOT"])
    yield Path.home() / ".pyenv"
    pyenv = shutil.which("pyenv")
    if pyenv is not None:
        found = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            yield Path(found.stdout.strip())


def works(python: Path) -> bool:
    """Tell whether a candidate really is a Python 3.10 that can make environments.

    A pyenv shim exists for every version ever installed and fails unless that version is chosen.
    """
    if not os.access(python, os.X_OK) or python.is_dir():
        return False
    try:
        probed = subprocess.run(
            [python, "-c", PROBE],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probed.returncode == 0 and probed.stdout.strip() == "True"


def find_python() -> Path:
    """Return the first candidate that works.

    Raises:
        PaxUnavailableError: there is none.
    """
    for python in candidates():
        if works(python):
            return python
    raise PaxUnavailableError("Pax needs python3.10, and none works on PATH or below pyenv")


def environment_directory() -> Path:
    """Return where the environment of these pins belongs."""
    pins = REQUIREMENTS.read_bytes() + platform.machine().encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "saxflow" / f"pax-{hashlib.sha256(pins).hexdigest()[:12]}"


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold an exclusive lock, waiting for another run that is building."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ready_python() -> Path:
    """Return the interpreter of the built environment, building it when it is not there.

    Raises:
        PaxUnavailableError: there is no python3.10, or the pins cannot be installed.
    """
    final = environment_directory()
    with locked(final.with_suffix(".lock")):
        if not final.exists():
            build(find_python(), final)
    return final / "bin" / "python"


def build(python: Path, final: Path) -> None:
    """Install the pins, without dependency resolution, into a new environment at `final`."""
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    _run([python, "-m", "venv", partial])
    pip = [partial / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "install", "--no-deps", "--only-binary", ":all:", "--requirement", REQUIREMENTS])
    partial.rename(final)


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise PaxUnavailableError(f"the Pax environment cannot be built: {said[-1]}")


def main() -> None:
    """Print where the environment is, or why there is none."""
    try:
        answer = {"python": str(ready_python())}
    except PaxUnavailableError as error:
        answer = {"unavailable": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
