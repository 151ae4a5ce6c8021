"""The image registry: which command stands for which container image.

The embedded cloud has no container runtime. Whoever starts it hands over a JSON object, image
reference -> command; a container is then a process: the command, followed by the container's
arguments. A reference is looked up exactly as written, digest included, so that a wrong digest is
an unknown image here as it is in Artifact Registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from saxflow.errors import InputError, NotFoundError
from saxflow.local.replacing import replace_file


@dataclass(frozen=True)
class ImageRegistry:
    """Images by reference; the value is what replaces the image's ENTRYPOINT."""

    images: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    @classmethod
    def load(cls, path: Path) -> ImageRegistry:
        """Read a registry file.

        Raises:
            InputError: it is not a JSON object of reference -> list of strings.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"image registry {path}: {error}") from error
        if not isinstance(value, dict) or not all(_is_command(v) for v in value.values()):
            raise InputError(f"image registry {path}: each image needs a list of strings")
        return cls({str(k): tuple(v) for k, v in value.items()})

    def save(self, path: Path) -> None:
        """Write the registry where `load` reads it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({k: list(v) for k, v in self.images.items()}, indent=1, sort_keys=True)
        replace_file(path, text)

    def command(self, reference: str) -> list[str]:
        """Return the command of an image.

        Raises:
            NotFoundError: the registry has no such image.
        """
        try:
            return list(self.images[reference])
        except KeyError:
            raise NotFoundError(
                f"manifest for {reference} not found: manifest unknown;"
                f" the image registry has {', '.join(sorted(self.images)) or 'no image'}"
            ) from None


def _is_command(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
