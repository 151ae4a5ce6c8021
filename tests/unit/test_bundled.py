"""Files that travel with the package are found in a clone and, before it, in an installed wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from saxflow import bundled
from saxflow.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["workflows/deploy_model.yaml", "tpu/startup.sh", "functions"])
def test_a_clone_has_them_at_the_top(name: str) -> None:
    assert bundled.path(name) == ROOT / name


def test_text_is_utf8() -> None:
    name = "workflows/deploy_model.yaml"
    assert bundled.text(name).encode() == (ROOT / name).read_bytes()


def test_an_installed_wheel_has_them_in_its_assets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages/saxflow"
    (package / "assets/tpu").mkdir(parents=True)
    (package / "assets/tpu/startup.sh").write_text("installed")
    monkeypatch.setattr(bundled, "_PACKAGE", package)
    assert bundled.text("tpu/startup.sh") == "installed"


def test_what_an_installation_lacks_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"tpu/none\.sh is not part of this installation"):
        bundled.path("tpu/none.sh")
