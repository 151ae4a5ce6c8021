"""What a command says when an optional dependency is not installed."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from saxflow.cli.extras import extra
from saxflow.errors import ConfigurationError

ROOT = Path(__file__).parents[3]


def fail(error: Exception, name: str = "convert") -> None:
    with extra(name):
        raise error


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("module", ["numpy", "google.cloud.batch_v1", "saxml"])
def test_module_and_extra_are_named(module):
    with pytest.raises(ConfigurationError) as caught:
        fail(missing(module), "local")
    assert str(caught.value) == (
        f"{module} is not installed; this command needs `pip install 'saxflow[local]'`"
    )
    assert caught.value.exit_code == 1
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_library_that_tells_in_its_own_words_what_it_misses():
    with pytest.raises(ConfigurationError) as caught:
        fail(ModuleNotFoundError("jax requires jaxlib to be installed"))
    assert str(caught.value) == (
        "jax requires jaxlib to be installed; this command needs `pip install 'saxflow[convert]'`"
    )


@pytest.mark.parametrize("module", ["saxflow", "saxflow.conversion.convrt"])
def test_a_missing_module_of_our_own_is_no_advice(module):
    with pytest.raises(ModuleNotFoundError, match=module):
        fail(missing(module))


@pytest.mark.parametrize(
    "error", [ImportError("libcuda.so: cannot open", name="torch"), ValueError("x"), KeyError("x")]
)
def test_other_failures_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught:
        fail(error)
    assert caught.value is error


def test_nothing_is_said_when_all_is_there():
    with extra("convert"):
        import numpy
    assert numpy.__name__ == "numpy"


def test_every_extra_that_commands_ask_for_can_be_installed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = [path.read_text() for path in (ROOT / "shared/saxflow/cli").glob("*.py")]
    asked = {name for text in sources for name in re.findall(r'\bextra\("([^"]*)"\)', text)}
    assert asked
    assert asked <= declared["optional-dependencies"].keys()


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("numpy", ["inspect", "nowhere"]),
        ("awscrt", ["verify", "nowhere"]),
        ("awscrt", ["convert", "nowhere", "nowhere"]),
    ],
)
def test_commands_without_their_dependencies(module, arguments):
    program = f"import sys; sys.modules[{module!r}] = None; from saxflow.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--json"], capture_output=True, text=True
    )
    advice = f"{module} is not installed; this command needs `pip install 'saxflow[convert]'`"
    assert done.stderr == f"saxflow: {advice}\n"
    assert json.loads(done.stdout) == {"error": advice, "exit_code": 1}
    assert done.returncode == 1
