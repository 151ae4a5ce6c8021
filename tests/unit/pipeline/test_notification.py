import pytest

from saxflow.errors import InputError
from saxflow.pipeline.notification import TYPE_PREFIX, Notification, parse


@pytest.mark.parametrize("generation", [7, "7"])
def test_generations_arrive_as_numbers_or_text(generation: object) -> None:
    data = {"bucket": "b", "name": "m.yaml", "generation": generation}
    expected = Notification("finalized", "b", "m.yaml", "7")
    assert parse(f"{TYPE_PREFIX}finalized", data) == expected


@pytest.mark.parametrize(
    ("event_type", "data", "said"),
    [
        ("com.example.other", {}, "com.example.other"),
        (f"{TYPE_PREFIX}finalized", b"not json", "bytes"),
        (f"{TYPE_PREFIX}finalized", {"bucket": "b", "name": "n"}, "generation"),
        (f"{TYPE_PREFIX}finalized", {"bucket": "b", "name": "n", "generation": "-1"}, "'-1'"),
        (f"{TYPE_PREFIX}deleted", {"bucket": "", "name": "n", "generation": 1}, "bucket"),
        (f"{TYPE_PREFIX}deleted", {"bucket": "b", "name": 5, "generation": 1}, "name 5"),
    ],
)
def test_what_is_no_storage_event_is_named(event_type: str, data: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(event_type, data)
