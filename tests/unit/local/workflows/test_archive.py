from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from saxflow.local.workflows.archive import Archive


def test_records_are_kept_replaced_listed_and_removed(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "deep", "thing.json")
    assert list(archive.load()) == []
    archive.put("projects/p/things/b", {"n": 2})
    archive.put("projects/p/things/a", {"n": 1})
    archive.put("projects/p/things/b", {"n": "ü"})
    assert list(Archive(tmp_path / "deep", "thing.json").load()) == [{"n": 1}, {"n": "ü"}]
    assert [path.name for path in archive.path("projects/p/things/b").parent.iterdir()] == [
        "thing.json"
    ]
    archive.path("projects/p/things/a").write_text('{"n"')
    assert list(archive.load()) == [{"n": "ü"}]
    archive.put("projects/p/things/a", {"n": 1})
    archive.remove("projects/p/things/b")
    assert list(archive.load()) == [{"n": 1}]


class Killed(BaseException):
    """The process is gone."""


def test_a_removal_that_was_cut_short_is_a_removal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path, "thing.json")
    for name in ("projects/p/things/a", "projects/p/things/a/parts/b", "projects/p/things/c"):
        archive.put(name, {"name": name})

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(Killed):
            archive.remove("projects/p/things/a")
    left = Archive(tmp_path, "thing.json")
    assert list(left.load()) == [{"name": "projects/p/things/c"}]
    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["c"]


def test_what_was_never_kept_can_be_removed(tmp_path: Path) -> None:
    Archive(tmp_path, "thing.json").remove("projects/p/things/a")
