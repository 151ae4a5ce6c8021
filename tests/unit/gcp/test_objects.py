"""Small objects through Google's client: preconditions, generations, pages, races."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from google.cloud import storage

from saxflow.errors import CloudError, InputError, IntegrityError, NotFoundError
from saxflow.gcp.objects import OVERWRITES_LIMIT, Objects, Uri
from saxflow.local.faults import Faults
from saxflow.local.storage import listing

PLACE = Uri("bkt", "a/o.json")
WRITERS = 16


@pytest.mark.parametrize(
    ("text", "bucket", "name"),
    [
        ("gs://b/a/o", "b", "a/o"),
        ("gs://b", "b", ""),
        ("gs://b/", "b", ""),
        ("gs://b//x", "b", "/x"),
    ],
)
def test_uris_are_split_at_the_first_slash(text: str, bucket: str, name: str) -> None:
    assert Uri.parse(text) == Uri(bucket, name)


@pytest.mark.parametrize("text", ["", "b/o", "gs:/b/o", "s3://b/o", "gs://", "gs:///o", "GS://b/o"])
def test_what_is_no_uri_is_quoted(text: str) -> None:
    with pytest.raises(InputError, match="write gs://bucket/name") as caught:
        Uri.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("parent", "child"),
    [("gs://b", "gs://b/x"), ("gs://b/a", "gs://b/a/x"), ("gs://b/a/", "gs://b/a/x")],
)
def test_a_child_lies_below(parent: str, child: str) -> None:
    assert str(Uri.parse(parent).child("x")) == child


def test_what_was_written_is_read(objects: Objects) -> None:
    generation = objects.write(PLACE, b"abc", if_generation="0")
    stored = objects.read(PLACE)
    assert (stored.data, stored.generation, stored.size_bytes) == (b"abc", generation, 3)
    assert stored.crc32c == "Nks/tw=="
    found = objects.stat(PLACE)
    assert found
    assert found.data is None
    assert (found.generation, found.size_bytes, found.crc32c) == (generation, 3, "Nks/tw==")


def test_a_write_on_condition_wins_once(objects: Objects) -> None:
    first = objects.write(PLACE, b"1", if_generation="0")
    assert first
    assert objects.write(PLACE, b"2", if_generation="0") is None
    second = objects.write(PLACE, b"2", if_generation=first)
    assert second
    assert objects.write(PLACE, b"3", if_generation=first) is None
    assert objects.read(PLACE).data == b"2"
    assert objects.write(PLACE, b"4", if_generation=None)
    assert objects.read(PLACE).data == b"4"


def test_an_old_generation_is_gone(objects: Objects) -> None:
    old = objects.write(PLACE, b"1", if_generation="0") or ""
    objects.write(PLACE, b"2", if_generation=old)
    with pytest.raises(NotFoundError, match=f"gs://bkt/a/o.json at generation {old}"):
        objects.read(PLACE, generation=old)
    assert objects.stat(PLACE, generation=old) is None


@pytest.mark.parametrize("bucket", ["bkt", "no-such-bucket"])
def test_what_is_not_there_is_named(objects: Objects, bucket: str) -> None:
    uri = Uri(bucket, "none")
    assert objects.stat(uri) is None
    assert objects.delete(uri) is False
    with pytest.raises(NotFoundError, match=f"gs://{bucket}/none does not exist"):
        objects.read(uri)


def test_delete_spares_another_generation(objects: Objects) -> None:
    generation = objects.write(PLACE, b"1", if_generation="0") or ""
    assert objects.delete(PLACE, if_generation=str(int(generation) - 1)) is False
    assert objects.delete(PLACE, if_generation=generation) is True
    assert objects.stat(PLACE) is None


def test_json_is_an_object(objects: Objects) -> None:
    generation = objects.write(PLACE, b'{"a": 1}', if_generation=None)
    assert objects.read_json(PLACE) == ({"a": 1}, generation)
    objects.write(PLACE, b"[1]", if_generation=None)
    with pytest.raises(IntegrityError, match="holds list"):
        objects.read_json(PLACE)
    objects.write(PLACE, b"\xff{", if_generation=None)
    with pytest.raises(IntegrityError, match="is not JSON"):
        objects.read_json(PLACE)


def test_a_listing_follows_every_page(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_LIMIT", 4)
    names = [f"many/{number:04d}" for number in range(13)]
    for name in [*names, "other"]:
        objects.write(Uri("bkt", name), b"", if_generation="0")
    assert [item.uri.name for item in objects.list(Uri("bkt", "many/"))] == names


def test_a_delimiter_hides_what_lies_deeper(objects: Objects) -> None:
    for name in ("p/b", "p/a", "p/q/c"):
        objects.write(Uri("bkt", name), b"x", if_generation="0")
    flat = objects.list(Uri("bkt", "p/"), delimiter="/")
    assert [item.uri.name for item in flat] == ["p/a", "p/b"]


def test_a_listing_of_no_bucket_is_refused(objects: Objects) -> None:
    with pytest.raises(CloudError, match="list gs://none/x") as caught:
        list(objects.list(Uri("none", "x")))
    assert (caught.value.code, caught.value.retryable) == (404, False)


def test_racing_creates_have_one_winner(objects: Objects) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        data = [str(number).encode() for number in range(WRITERS)]
        won = list(pool.map(lambda each: objects.write(PLACE, each, if_generation="0"), data))
    winners = [each for each, generation in zip(data, won, strict=True) if generation]
    assert [objects.read(PLACE).data] == winners


@pytest.fixture
def overwrite_after_stat(client: storage.Client) -> Callable[[int], list[int]]:
    """Overwrite the object right after it was looked at, so many times; return what was written."""

    def arm(times: int) -> list[int]:
        written: list[int] = []
        other = Objects(client)

        def strike(response: Any, **_: Any) -> None:
            looked = response.request.method == "GET" and "/o/a%2Fo.json?projection" in response.url
            if looked and len(written) < times:
                written.append(len(written))
                other.write(PLACE, str(written[-1]).encode(), if_generation=None)

        client._http.hooks["response"].append(strike)
        return written

    return arm


def test_an_object_overwritten_meanwhile_is_read_anew(
    objects: Objects, overwrite_after_stat: Callable[[int], list[int]]
) -> None:
    objects.write(PLACE, b"first", if_generation="0")
    overwrite_after_stat(3)
    stored = objects.read(PLACE)
    assert stored.data == b"2"
    found = objects.stat(PLACE)
    assert found
    assert found.generation == stored.generation


def test_an_object_that_never_rests_is_told(
    objects: Objects, overwrite_after_stat: Callable[[int], list[int]]
) -> None:
    objects.write(PLACE, b"first", if_generation="0")
    overwrite_after_stat(OVERWRITES_LIMIT)
    with pytest.raises(CloudError, match=f"overwritten {OVERWRITES_LIMIT} times") as caught:
        objects.read(PLACE)
    assert caught.value.retryable


def test_one_overwrite_less_is_survived(
    objects: Objects, overwrite_after_stat: Callable[[int], list[int]]
) -> None:
    objects.write(PLACE, b"first", if_generation="0")
    overwrite_after_stat(OVERWRITES_LIMIT - 1)
    assert objects.read(PLACE).data == str(OVERWRITES_LIMIT - 2).encode()


def test_a_reader_beside_writers_never_sees_a_mixture(objects: Objects) -> None:
    objects.write(PLACE, b"0" * 1000, if_generation="0")

    def write(number: int) -> None:
        for _ in itertools.repeat(None, 5):
            objects.write(PLACE, str(number).encode() * 1000, if_generation=None)

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(4)]
        while not all(each.done() for each in writing):
            with suppress(CloudError):  # overwritten too often, as another test has it
                data = objects.read(PLACE).data or b""
                assert (len(data), len(set(data))) == (1000, 1)
    assert [each.result() for each in writing] == [None] * 4


def test_a_lasting_refusal_keeps_its_code(objects: Objects, faults: Faults) -> None:
    faults.arm("storage", "objects.get", "return-403", count=None)
    with pytest.raises(CloudError, match="stat gs://bkt/a/o") as caught:
        objects.stat(PLACE)
    assert (caught.value.code, caught.value.retryable, caught.value.service) == (
        403,
        False,
        "storage",
    )
