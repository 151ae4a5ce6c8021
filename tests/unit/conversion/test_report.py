import json

import pytest

from saxflow.checkpoint.local_directory import LocalDirectory
from saxflow.checkpoint.source import read_source
from saxflow.conversion.report import Spec, compose, read_report, sorted_by_name
from saxflow.conversion.written import Written
from saxflow.errors import IntegrityError
from saxflow.weights import fingerprint

OBJECTS = [Written("state/b/0", 4, "BBBBBB=="), Written("state/a/0", 3, "AAAAAA==")]


@pytest.fixture
def directory(tmp_path, tiny):
    source = read_source(LocalDirectory(tiny))
    document = compose(
        source,
        str(tiny),
        "gs://b/d",
        Spec(mesh=2),
        tasks=1,
        objects=OBJECTS,
        figures={"seconds": 1},
    )
    files = LocalDirectory(tmp_path)
    files.overwrite("report.json", document)
    return files


def test_a_report_is_read_back(directory, kit):
    report = read_report(directory)
    assert report.dimensions == kit.GQA
    assert report.spec == Spec("float16", 2)
    assert report.directory == "gs://b/d"
    assert report.objects == {one.name: one for one in sorted_by_name(OBJECTS)}
    assert report.figures == {"seconds": 1}


def test_no_report(tmp_path):
    assert read_report(LocalDirectory(tmp_path)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"tasks": 1', '"tasks": 2'), "was altered"),
        (lambda text: text[:-5], "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "{}", "is damaged"),
    ],
)
def test_an_altered_report_is_not_believed(directory, change, message):
    path = directory.root / "report.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(IntegrityError, match=message):
        read_report(directory)


def test_the_fingerprint_is_the_plans(tiny):
    source = read_source(LocalDirectory(tiny))
    facts = {"mesh": 4, "max_chunk_bytes": 64 << 20, "compressor": "none"}
    assert Spec(mesh=4).fingerprint(source) == fingerprint(
        source.files, dtype="float16", layout=facts
    )
    assert json.loads(json.dumps(facts)) == facts
