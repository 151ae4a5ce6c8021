"""`saxflow cell`: usage; what it runs is in the contract tests."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from saxflow.cli.cell import cell


def test_up_needs_checkpoint_servable_and_root() -> None:
    result = CliRunner().invoke(cell, ["up"])
    assert result.exit_code == 2
    assert "--checkpoint" in result.output


def test_halves_exclude_each_other(tmp_path: Path) -> None:
    flags = ["--checkpoint=c", "--servable=s", f"--sax-root={tmp_path}"]
    result = CliRunner().invoke(cell, ["up", *flags, "--admin-only", "--server-only"])
    assert result.exit_code == 2
    assert "exclude each other" in result.output
