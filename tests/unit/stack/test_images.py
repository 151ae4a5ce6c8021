"""References look like Artifact Registry's, pinned; each has a command that stands for it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from saxflow.stack import images


def test_references_are_pinned_and_differ() -> None:
    references = [images.CONVERT, images.ADMIN, images.MODEL_SERVER]
    assert len(set(references)) == 3
    for reference in references:
        assert re.fullmatch(r"[a-z0-9-]+\.pkg\.dev/[a-z0-9/-]+@sha256:[0-9a-f]{64}", reference)
    assert images.reference("convert-checkpoint") == images.CONVERT


def test_the_registry_knows_a_command_for_each(tmp_path: Path) -> None:
    registry = images.registry(tmp_path)
    for reference in (images.CONVERT, images.ADMIN, images.MODEL_SERVER):
        python, *rest = registry.command(reference)
        assert python == sys.executable
        assert rest
    assert Path(registry.command(images.CONVERT)[1]).is_file()
