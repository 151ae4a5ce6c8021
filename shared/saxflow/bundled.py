"""Files that travel with saxflow: functions, Workflows, TPU scripts, the tiny Llama.

In a clone they lie at the top level; in an installed wheel below `saxflow/assets`. This module is
the only one that knows.
"""

from __future__ import annotations

from pathlib import Path

from saxflow.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parent


def path(relative: str) -> Path:
    """Return the path of a bundled file or directory, for example `workflows/deploy_model.yaml`.

    Raises:
        ConfigurationError: the installation lacks it.
    """
    for root in (_PACKAGE / "assets", _PACKAGE.parent.parent):
        candidate = root / relative
        if candidate.exists():
            return candidate
    raise ConfigurationError(f"{relative} is not part of this installation; reinstall saxflow")


def text(relative: str) -> str:
    """Return the content of a bundled text file."""
    return path(relative).read_text(encoding="utf-8")
