"""A staged directory holds the function, what it may import, and nothing else. See tests/deployable."""

from __future__ import annotations

from pathlib import Path

import pytest

from saxflow.errors import InputError
from saxflow.stack.staging import ASSETS, FUNCTIONS, LEFT_OUT, main, stage


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_rooms_that_functions_import_are_staged(function: str, tmp_path: Path) -> None:
    directory = stage(function, tmp_path / "new/directory")
    names = {path.name for path in (directory / "saxflow").iterdir()}
    assert {"pipeline", "gcp", "errors.py", "assets"} <= names
    assert names & (set(LEFT_OUT) - {"assets"}) == set()
    assert {"main.py", "requirements.txt"} <= {path.name for path in directory.iterdir()}
    assert not list(directory.rglob("__pycache__"))
    staged = (path for path in (directory / "saxflow/assets").rglob("*") if path.is_file())
    assert {path.relative_to(directory / "saxflow/assets").as_posix() for path in staged} == set(
        ASSETS
    )


def test_staging_into_what_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="is not empty"):
        stage("reconcile", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_command_answers_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", str(tmp_path / "f")]) == 0
    assert main(["nothing", str(tmp_path / "g")]) == 3
    assert "is none of on_manifest" in capsys.readouterr().err
    assert main(["reconcile"]) == 2
    assert "usage:" in capsys.readouterr().err
