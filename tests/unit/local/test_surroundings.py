"""What services that start processes share."""

from __future__ import annotations

from saxflow.local.images import ImageRegistry
from saxflow.local.surroundings import Surroundings


def test_registry_is_read_again_at_every_use(tmp_path):
    file = tmp_path / "images.json"
    surroundings = Surroundings(tmp_path, {}, file)
    ImageRegistry({"a": ["1"]}).save(file)
    assert surroundings.registry().command("a") == ["1"]
    ImageRegistry({"a": ["2"]}).save(file)
    assert surroundings.registry().command("a") == ["2"]
