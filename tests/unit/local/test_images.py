"""The image registry."""

from __future__ import annotations

import pytest

from saxflow.errors import InputError, NotFoundError
from saxflow.local.images import ImageRegistry

REFERENCE = "us-docker.pkg.dev/p/r/admin@sha256:" + "a" * 64


def test_saved_registry_is_read_back(tmp_path):
    ImageRegistry({REFERENCE: ["python", "-m", "x"]}).save(tmp_path / "deep/images.json")
    registry = ImageRegistry.load(tmp_path / "deep/images.json")
    assert registry.command(REFERENCE) == ["python", "-m", "x"]


def test_another_digest_is_another_image():
    registry = ImageRegistry({REFERENCE: ["x"]})
    with pytest.raises(NotFoundError, match="manifest unknown"):
        registry.command(REFERENCE[:-1] + "b")


@pytest.mark.parametrize("text", ["[]", "{", '{"a": []}', '{"a": "x"}', '{"a": [1]}'])
def test_bad_registry_is_refused_by_path(tmp_path, text):
    file = tmp_path / "images.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"images\.json"):
        ImageRegistry.load(file)


def test_missing_registry_is_refused_by_path(tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        ImageRegistry.load(tmp_path / "none.json")
