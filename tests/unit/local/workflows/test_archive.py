from __future__ import annotations

from pathlib import Path

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
