"""The documentation says what the code does: commands, settings, events, exit codes, links."""

import re
from pathlib import Path

import pytest

from saxflow import events
from saxflow.cli import COMMANDS
from saxflow.cli.console import EXIT_CODES

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
VARIABLE = re.compile(r"\bSAXFLOW_[A-Z0-9_]+\b")


def documentation() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in DOCS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_documented(command: str) -> None:
    listed = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert re.search(rf"`saxflow {command}\b", listed), command


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_every_exit_code_is_documented(code: int) -> None:
    listed = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"| {code} | {EXIT_CODES[code]} |" in listed


@pytest.mark.parametrize("name", sorted(events.TYPES))
def test_every_event_type_is_documented(name: str) -> None:
    assert name in (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    source = (ROOT / "shared" / "saxflow" / "settings.py").read_text(encoding="utf-8")
    missing = {name for name in VARIABLE.findall(source) if name not in documentation()}
    assert missing == set()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_readme_names_the_commands_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = re.findall(r"^(?:exec )?(make \w+)$", script, re.MULTILINE)
    assert len(command) == 1
    assert f"\n{command[0]}\n" in readme
