"""The image's build: the import line is placed and the class is listed, or the build fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

KEY = "saxml.server.pax.lm.params.saxflow.Llama"
LINE = "from saxml.server.pax.lm.params import saxflow"


def test_the_class_is_listed_beside_the_stock_ones(image: Any, servable_file: Any) -> None:
    stock = "saxml.server.pax.lm.params.lm_cloud.LLaMA7BFP16TPUv5e"
    assert image.listed(servable_file()) == [stock, KEY]


def test_the_line_follows_the_other_params_modules(image: Any) -> None:
    lines = (image.lm / "all_imports.py").read_text().splitlines()
    assert lines[lines.index(LINE) - 1] == "from saxml.server.pax.lm.params import c4"


def test_installing_twice_changes_nothing(image: Any, model_server: Path) -> None:
    before = (image.lm / "all_imports.py").read_text()
    assert image.register("install", model_server / "saxflow.py").returncode == 0
    assert (image.lm / "all_imports.py").read_text() == before


def test_check_prints_the_key(image: Any, servable_file: Any) -> None:
    done = image.register("check", SAXFLOW_SERVABLE=str(servable_file()))
    assert (done.returncode, done.stdout) == (0, KEY + "\n")


def test_check_finds_modules_in_the_runfiles(image: Any, servable_file: Any) -> None:
    packages = image.main.parent / "third_party_something/site-packages"
    packages.mkdir(parents=True)
    (packages / "only_in_runfiles.py").write_text("")
    c4 = image.lm / "params/c4.py"
    c4.write_text("import only_in_runfiles\n")
    assert image.register("check", SAXFLOW_SERVABLE=str(servable_file())).returncode == 0


def test_check_fails_when_the_class_is_not_listed(stock_image: Any, servable_file: Any) -> None:
    done = stock_image.register("check", SAXFLOW_SERVABLE=str(servable_file()))
    assert done.returncode == 1
    assert "the registry lists 0 classes of saxml.server.pax.lm.params.saxflow" in done.stderr


def test_check_fails_on_random_weights(image: Any, servable_file: Any) -> None:
    module = image.lm / "params/saxflow.py"
    module.write_text(module.read_text().replace("lambda self: False", "lambda self: True"))
    done = image.register("check", SAXFLOW_SERVABLE=str(servable_file()))
    assert done.returncode == 1
    assert f"{KEY} is in test mode" in done.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import saxml.server.pax.lm.params.lm_cloud\n", "no line `from saxml.server.pax.lm"),
        ("# from saxml.server.pax.lm.params import lm_cloud\n", "fills its registry in another"),
        ("from saxml.server.pax.lm.params import (\n", "was never closed"),
    ],
)
def test_the_build_fails_where_the_line_has_no_place(
    stock_image: Any, model_server: Path, text: str, complaint: str
) -> None:
    (stock_image.lm / "all_imports.py").write_text(text)
    done = stock_image.register("install", model_server / "saxflow.py")
    assert done.returncode == 1
    assert complaint in done.stderr
    assert not (stock_image.lm / "params/saxflow.py").exists()


def test_an_import_over_several_lines_is_not_cut(stock_image: Any) -> None:
    path = stock_image.lm / "all_imports.py"
    path.write_text("from saxml.server.pax.lm.params import (\n    c4,\n    lm_cloud,\n)\nx = 1\n")
    assert stock_image.register("patch", path).returncode == 0
    assert path.read_text().splitlines()[3:] == [")", LINE, "x = 1"]


def test_the_build_fails_without_saxs_code(stock_image: Any, model_server: Path) -> None:
    shutil.rmtree(stock_image.main / "saxml")
    done = stock_image.register("install", model_server / "saxflow.py")
    assert done.returncode == 1
    assert "0 files saxml/server/pax/lm/params/lm_cloud.py below" in done.stderr


def test_the_build_fails_on_two_copies_of_sax(stock_image: Any, model_server: Path) -> None:
    shutil.copytree(stock_image.main, stock_image.main.parent / "again")
    done = stock_image.register("install", model_server / "saxflow.py")
    assert done.returncode == 1
    assert "2 files" in done.stderr


def test_the_servers_start_ends_with_what_is_wrong(image: Any, servable_file: Any) -> None:
    done = image.register("check", SAXFLOW_SERVABLE=str(servable_file(layers=0)))
    assert done.returncode == 1
    assert "layers is 0; it must be a positive integer" in done.stderr
