"""Functions as they are uploaded: staged, importable alone, light, pinned."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from saxflow import bundled
from saxflow.errors import InputError
from saxflow.stack.staging import FUNCTIONS, main, stage

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "jax", "numpy", "tensorstore", "saxflow.cell", "saxflow.conversion")
PROBE = """
import json, sys
import main
import saxflow
print(json.dumps({"package": saxflow.__file__, "modules": sorted(sys.modules), "names": dir(main)}))
"""


def environment() -> dict[str, str]:
    settings = {
        f"SAXFLOW_{name}_BUCKET": name.lower()
        for name in ("MANIFESTS", "CONTROL", "MODELS", "CELLS")
    }
    return {**os.environ, **settings, "SAXFLOW_PROJECT": "p", "K_SERVICE": "test"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_staged_function_imports_alone_and_light(function: str, tmp_path: Path) -> None:
    directory = stage(function, tmp_path / function)
    run = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    import json

    found = json.loads(run.stdout)
    assert found["package"].startswith(str(directory))
    assert [name for name in HEAVY if name in found["modules"]] == []
    entry = "app" if function == "generate" else function
    assert entry in found["names"]


def test_a_staged_function_finds_the_scripts_that_plans_carry(tmp_path: Path) -> None:
    directory = stage("on_manifest", tmp_path / "f")
    for name in ("bootstrap.sh", "startup.sh"):
        staged = directory / "saxflow" / "assets" / "tpu" / name
        assert staged.read_text() == bundled.text(f"tpu/{name}")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_requirements_are_pinned_as_everywhere(function: str) -> None:
    constraints = set((ROOT / "constraints.txt").read_text().lower().split())
    lines = bundled.text(f"functions/{function}/requirements.txt").lower().split()
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9_-]+(\[[a-z]+\])?==[0-9.]+", line), line
        assert re.sub(r"\[[a-z]+\]", "", line) in constraints, line
    assert not any(line.startswith("saxflow") for line in lines)


def test_an_unknown_function_or_a_full_directory_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="'nothing'"):
        stage("nothing", tmp_path / "x")
    (tmp_path / "file").touch()
    assert main(["reconcile", str(tmp_path)]) == 3
    assert "not empty" in capsys.readouterr().err
    assert main([]) == 2
