"""A finalized manifest: planned and started once, or rejected with every problem. See tests/faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from saxflow import head as heads
from saxflow.errors import NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.head import Head, Source
from saxflow.manifest import MAX_BYTES, parse
from saxflow.pipeline import accept
from saxflow.pipeline.heads import read_head
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.plans import find_plan
from saxflow.pipeline.services import Services
from saxflow.pipeline.status import newest_log

Drop = Callable[..., Notification]
GetHead = Callable[[str], Head]
Ran = Callable[[str, str], list[dict[str, Any]]]


def test_a_manifest_is_planned_and_started(
    services: Services, drop: Drop, get_head: GetHead, ran: Ran
) -> None:
    event = drop("new")
    accept.accept(services, event)
    head = get_head("new")
    assert head.desired == event.generation
    assert head.source == Source("manifests", "new.yaml")
    assert head.attempts == 1
    (argument,) = ran("deploy-model", "new")
    reference = find_plan(services, "new", event.generation)
    assert reference
    assert argument["sha256"] == reference.sha256
    (said,) = newest_log(services, "new")
    assert (said.name, said.data["attempt"]) == ("manifest.accepted", 1)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("wrong", b"name: [", "wrong.yaml"),
        ("other", b"apiVersion: saxflow/v1\nname: x\nweights: {source: gs://models/llama}\n", "differs from the file's name"),
        ("closed", b"apiVersion: saxflow/v1\nname: closed\nweights: {source: gs://nowhere/x}\n", "gs://nowhere/x"),
        ("large", b"#" * (MAX_BYTES + 1), f"has {MAX_BYTES + 1} bytes"),
    ],
)  # fmt: skip
def test_a_bad_manifest_is_rejected_without_a_head(
    services: Services, drop: Drop, ran: Ran, name: str, data: bytes, said: str
) -> None:
    event = drop(name, data)
    for _ in range(2):
        accept.accept(services, event)
    assert read_head(services, name) is None
    assert ran("deploy-model", name) == []
    (told,) = newest_log(services, name)
    assert told.name == "manifest.rejected"
    assert said in told.data["message"]
    assert all(problem["message"] for problem in told.data["problems"])


def test_a_bad_manifest_leaves_what_is_wanted(
    services: Services, drop: Drop, get_head: GetHead
) -> None:
    accept.accept(services, drop("keeps"))
    before = get_head("keeps")
    accept.accept(services, drop("keeps", b"name: keeps\n"))
    assert get_head("keeps") == before


def test_a_stem_that_is_no_name_is_rejected_for_no_deployment(
    services: Services, drop: Drop
) -> None:
    event = drop("", b"{}", file="Not A Name.json")
    accept.accept(services, event)
    log = Uri("control", f"rejected/{event.generation}/")
    assert len(list(services.objects.list(log))) == 1


def test_other_files_are_left_alone(
    services: Services, drop: Drop, capsys: pytest.CaptureFixture[str]
) -> None:
    accept.accept(services, drop("readme", b"hello", file="readme.md"))
    assert "left alone" in capsys.readouterr().err
    assert newest_log(services, "readme") == []


def test_a_buried_generation_stays_buried(
    services: Services, drop: Drop, get_head: GetHead, put_head: Callable[[Head], Head]
) -> None:
    event = drop("buried")
    buried = put_head(Head("buried", tombstone=event.generation))
    accept.accept(services, event)
    assert get_head("buried") == buried


def test_a_manifest_that_is_gone_meanwhile_is_no_trouble(services: Services, drop: Drop) -> None:
    event = drop("vanished")
    services.objects.delete(Uri(event.bucket, event.name))
    accept.accept(services, event)
    assert read_head(services, "vanished") is None


def test_a_retry_is_another_attempt(
    services: Services, drop: Drop, get_head: GetHead, ran: Ran
) -> None:
    event = drop("tried")
    accept.accept(services, event)
    reference = accept.retry(services, "tried")
    assert (reference.attempt, reference.generation) == (2, event.generation)
    assert get_head("tried").attempts == 2
    assert sorted(each["attempt"] for each in ran("deploy-model", "tried")) == [1, 2]


def test_a_retry_of_what_is_not_wanted_is_refused(
    services: Services, drop: Drop, get_head: GetHead, put_head: Callable[[Head], Head]
) -> None:
    with pytest.raises(NotFoundError, match="'never-tried' has no accepted manifest"):
        accept.retry(services, "never-tried")
    event = drop("unwanted")
    accept.accept(services, event)
    buried = heads.bury(get_head("unwanted"), event.generation)
    assert isinstance(buried, Head)
    put_head(buried)
    with pytest.raises(NotFoundError, match="upload one: saxflow deploy"):
        accept.retry(services, "unwanted")


def test_a_head_without_source_cannot_be_resumed(services: Services) -> None:
    with pytest.raises(NotFoundError, match="'lost' names no manifest"):
        accept.resume(services, Head("lost", desired="5", attempts=1))


def test_the_same_manifest_compiles_to_the_same_plan(services: Services, drop: Drop) -> None:
    event = drop("pure")
    data = services.objects.read(Uri(event.bucket, event.name)).data or b""
    parsed = parse(data, source_name=event.name)
    one, two = (accept.compile_manifest(services, parsed, event, 1) for _ in range(2))
    assert (one.core, one.parts) == (two.core, two.parts)
    assert one.id.startswith("sf-pure-")
