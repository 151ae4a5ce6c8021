"""A stand-in for SAX's image: its directories, its import chain, its registry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
MODEL_SERVER = ROOT / "tpu/model_server"
STAND_IN = ROOT / "tests/conformance/py310/saxml"
LIST = """
import json, sys
from saxml.server import all_imports, servable_model_registry as registry
json.dump(sorted(registry.get_all()), sys.stdout)
"""
SERVE = """
import importlib, json, os, sys
for line in sys.stdin:
    request = json.loads(line)
    os.environ["SAXFLOW_SERVABLE"] = request["servable"]
    sys.modules.pop("saxml.server.pax.lm.params.saxflow", None)
    try:
        from saxml.server import servable_model_registry as registry
        importlib.import_module("saxml.server.pax.lm.params.saxflow")
        found = registry.get(request["key"])
        params = found()
        params.set_test_mode(True)
        facts = {name: getattr(found, name) for name in dir(found) if name.isupper()}
        facts = {name: getattr(value, "__name__", value) for name, value in facts.items()}
        answer = {**facts, "test_mode": params.test_mode, "module": found.__module__}
    except Exception as error:
        answer = {"refusal": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
"""


@dataclass(frozen=True)
class Image:
    """The files of a model server image below one directory.

    Args:
        root: stands for `/`.
    """

    root: Path

    @property
    def main(self) -> Path:
        """Where the image keeps SAX's code."""
        return self.root / "usr/bin/server.runfiles/__main__"

    @property
    def lm(self) -> Path:
        """The package that names the params modules."""
        return self.main / "saxml/server/pax/lm"

    def register(
        self, *arguments: str | Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run register.py against this image."""
        command = [MODEL_SERVER / "register.py", "--search", self.root / "usr/bin", *arguments]
        return _python(command, variables)

    def run(self, script: str, **variables: str) -> Any:
        """Run Python code with the image's modules and return the JSON it prints."""
        variables["PYTHONPATH"] = str(self.main)
        done = _python(["-c", script], variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def listed(self, servable: Path) -> list[str]:
        """Return the keys of SAX's registry."""
        return self.run(LIST, SAXFLOW_SERVABLE=str(servable))


@dataclass(frozen=True)
class Registry:
    """A process with the image's modules, asked about one servable after the other.

    Importing jax takes longer than everything else these tests do, so they share the process.
    """

    process: subprocess.Popen[str]

    def attributes(self, servable: Path, key: str) -> dict[str, Any]:
        """Return what the registered class says of itself, after SAX tried to set test mode."""
        answer = self._ask(servable, key)
        assert "refusal" not in answer, answer
        return answer

    def refusal(self, servable: Path) -> str:
        """Return the error with which the module refuses a servable."""
        return self._ask(servable, "")["refusal"]

    def _ask(self, servable: Path, key: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = {"servable": str(servable), "key": key}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def _python(
    arguments: list[str | Path], variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        env=_environment(variables),
        capture_output=True,
        text=True,
        check=False,
    )


def _environment(variables: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu", **variables}


@pytest.fixture(scope="session")
def model_server() -> Path:
    """Return the folder of what is deployed."""
    return MODEL_SERVER


@pytest.fixture
def stock_image(tmp_path: Path) -> Image:
    """Return an image as SAX ships it."""
    return _stock_image(tmp_path / "image")


def _stock_image(root: Path) -> Image:
    image = Image(root)
    shutil.copytree(STAND_IN, image.main / "saxml", ignore=shutil.ignore_patterns("__pycache__"))
    return image


@pytest.fixture
def image(stock_image: Image, model_server: Path) -> Image:
    """Return an image with the params module installed, as the Dockerfile does it."""
    return _installed(stock_image, model_server)


def _installed(image: Image, model_server: Path) -> Image:
    done = image.register("install", model_server / "saxflow.py")
    assert done.returncode == 0, done.stderr
    return image


@pytest.fixture(scope="session")
def registry(model_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Start the process that the tests of the params module share."""
    image = _installed(_stock_image(tmp_path_factory.mktemp("image")), model_server)
    process = subprocess.Popen(
        [sys.executable, "-B", "-c", SERVE],
        env=_environment({"PYTHONPATH": str(image.main)}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield Registry(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def servable_file(tmp_path: Path, model_server: Path) -> Any:
    """Return a function that writes a servable with changes and returns its path."""
    document = json.loads((model_server / "servable.check.json").read_text())

    def write(**changes: Any) -> Path:
        path = tmp_path / "servable.json"
        path.write_text(json.dumps({**document, **changes}))
        return path

    return write
