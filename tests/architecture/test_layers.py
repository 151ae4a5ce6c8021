"""The layers of the package are a test."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_layers_hold() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout


def test_the_command_line_imports_fast() -> None:
    """Nothing heavier than click: a clock would judge the machine, the module list judges us."""
    script = "import sys, saxflow.cli; print('\\n'.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {
        "google.api_core",
        "google.auth",
        "grpc",
        "numpy",
        "pydantic",
        "rich",
        "torch",
        "yaml",
        "jax",
        "requests",
    }
    assert heavy.isdisjoint(run.stdout.split())
