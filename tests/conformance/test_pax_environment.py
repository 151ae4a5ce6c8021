"""Finding a python3.10: shims that fail, pyenv's versions, and none at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("pax_environment.py")
FAKE = """#!/bin/sh
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") {pip} ;;
  *) echo True ;;
esac
"""
"""A python3.10 that makes environments without doing anything."""

SHIM = "#!/bin/sh\necho 'pyenv: python3.10: command not found' >&2\nexit 127\n"


def _put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def _ask(tmp_path: Path, **variables: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, SCRIPT],
        env={
            "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
            "HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            **variables,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture
def no_system_python() -> None:
    """Skip where the system itself carries a python3.10, which these tests could not hide."""
    if any(os.access(f"{folder}/python3.10", os.X_OK) for folder in ("/usr/bin", "/bin")):
        pytest.skip("python3.10 is in the system's own directories")


@pytest.mark.usefixtures("no_system_python")
def test_without_python310_the_reason_says_so(tmp_path: Path) -> None:
    assert _ask(tmp_path) == {
        "unavailable": "Pax needs python3.10, and none works on PATH or below pyenv"
    }


@pytest.mark.usefixtures("no_system_python")
def test_a_shim_that_fails_is_passed_over(tmp_path: Path) -> None:
    _put(tmp_path / "bin/python3.10", SHIM)
    assert "none works" in _ask(tmp_path)["unavailable"]


@pytest.mark.usefixtures("no_system_python")
@pytest.mark.parametrize("root", ["home/.pyenv", "elsewhere"])
def test_pyenvs_versions_are_searched_behind_a_failing_shim(tmp_path: Path, root: str) -> None:
    _put(tmp_path / "bin/python3.10", SHIM)
    _put(tmp_path / root / "versions/3.10.13/bin/python3.10", FAKE.format(pip="exit 0"))
    answer = _ask(tmp_path, PYENV_ROOT=str(tmp_path / "elsewhere"))
    assert answer["python"].endswith("/bin/python")
    assert Path(answer["python"]).is_relative_to(tmp_path / "cache/saxflow")


@pytest.mark.usefixtures("no_system_python")
def test_pins_that_do_not_install_give_pips_last_word(tmp_path: Path) -> None:
    failing = FAKE.format(pip="echo 'no matching distribution' >&2; exit 1")
    _put(tmp_path / "bin/python3.10", failing)
    assert _ask(tmp_path)["unavailable"] == (
        "the Pax environment cannot be built: no matching distribution"
    )
    assert not list((tmp_path / "cache/saxflow").glob("pax-*[0-9a-f]"))


def test_every_pin_is_exact() -> None:
    lines = SCRIPT.with_name("requirements-pax.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 and "//" not in line for line in pins)
    assert {"paxml==1.2.0", "praxis==1.2.0", "jax==0.4.18"} <= set(pins)
