from hypothesis import given
from hypothesis import strategies as st

from saxflow.gcp.objects import Stored, Uri
from saxflow.layout import MARKERS, ObjectPlan
from saxflow.pipeline.commit import Record, differences

NAMES = [f"state/v/{index}" for index in range(6)]
PLANNED = [ObjectPlan(name, 8) for name in NAMES]
RECORDS = {name: Record(8, "AAAAAA==") for name in NAMES}
LISTED = {name: Stored(Uri("b", name), "1", 8, "AAAAAA==") for name in NAMES}


def test_a_whole_checkpoint_has_no_differences() -> None:
    assert list(differences(PLANNED, RECORDS, LISTED)) == []


def test_commit_markers_of_an_earlier_pass_do_not_count() -> None:
    marked = LISTED | {name: Stored(Uri("b", name), "1", 5, "x") for name in MARKERS}
    assert list(differences(PLANNED, RECORDS, marked)) == []


@given(st.sampled_from(NAMES))
def test_a_missing_object_is_named(name: str) -> None:
    rest = {key: value for key, value in LISTED.items() if key != name}
    assert list(differences(PLANNED, RECORDS, rest)) == [f"{name} is missing"]


@given(st.sampled_from(NAMES), st.integers(0, 100).filter(lambda size: size != 8))
def test_a_truncated_object_is_named(name: str, size: int) -> None:
    cut = LISTED | {name: Stored(Uri("b", name), "1", size, "AAAAAA==")}
    (said,) = differences(PLANNED, RECORDS, cut)
    assert name in said
    assert str(size) in said


def test_an_object_with_another_digest_is_named_even_when_its_size_is_unknown() -> None:
    planned = [ObjectPlan(name, None) for name in NAMES]
    swapped = LISTED | {NAMES[2]: Stored(Uri("b", NAMES[2]), "1", 8, "BBBBBB==")}
    (said,) = differences(planned, RECORDS, swapped)
    assert NAMES[2] in said
    assert "BBBBBB==" in said


def test_an_object_in_no_record_is_named() -> None:
    records = {key: value for key, value in RECORDS.items() if key != NAMES[0]}
    assert list(differences(PLANNED, records, LISTED)) == [f"{NAMES[0]} is in no Task's record"]


def test_a_foreign_object_is_named() -> None:
    foreign = LISTED | {"state/v/9": Stored(Uri("b", "state/v/9"), "1", 8, "AAAAAA==")}
    assert list(differences(PLANNED, RECORDS, foreign)) == ["state/v/9 does not belong there"]
