"""Structured log lines, as Cloud Run's agent reads them; stdout belongs to a command's result."""

from __future__ import annotations

import json
import sys
from typing import Any


def log(severity: str, message: str, **fields: Any) -> None:
    """Print one JSON line.

    Args:
        severity: Cloud Logging's word: `INFO`, `WARNING`, `ERROR`.
        fields: what to filter by, for example `deployment=`.
    """
    sys.stderr.write(json.dumps({"severity": severity, "message": message, **fields}) + "\n")
    sys.stderr.flush()
