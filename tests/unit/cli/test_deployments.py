"""`deploy status watch events logs retry delete` by name, with documented exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saxflow import head as heads
from saxflow.cli import app
from saxflow.cli.console import run
from saxflow.cli.deployments import WATCH_EXIT_CODES
from saxflow.events import STREAM_ENDS, TYPES
from saxflow.gcp import clients
from saxflow.gcp.objects import Uri
from saxflow.head import Head, Source
from saxflow.local.cloud import LocalCloud
from saxflow.pipeline.eventlog import announce
from saxflow.pipeline.heads import change_head, read_head
from saxflow.pipeline.services import Services, services
from saxflow.stack import provision

MANIFEST = "apiVersion: saxflow/v1\nname: tiny\nweights: {source: gs://models/llama}\n"
Answer = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture(scope="module")
def environ(cloud: LocalCloud, smallest_installation: dict[str, str]) -> dict[str, str]:
    """Return the environment of an installation on an embedded cloud."""
    return {**cloud.environ(), **smallest_installation, "SAXFLOW_GENERATE": "http://generate"}


@pytest.fixture
def here(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Let this process be on that installation."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    services.cache_clear()
    found = services()
    buckets = [value for name, value in environ.items() if name.endswith("_BUCKET")]
    provision.ensure_buckets(found.settings.endpoints, "proj", buckets, "us-central1")
    provision.ensure_topic(found.settings.endpoints, "proj", found.settings.events_topic)
    yield found
    client = clients.storage_client("proj", found.settings.endpoints)
    for bucket in buckets:
        for blob in client.list_blobs(bucket):
            blob.delete()
    client.close()
    services.cache_clear()


@pytest.fixture
def answer(here: Services, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Return a function that runs a command: its exit code, JSON lines of stdout, and stderr."""

    def call(*arguments: str) -> tuple[int, list[Any], str]:
        code = run(app, [*arguments, "--json"])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return call


def say(here: Services, name: str, at: float = 0.0, **more: Any) -> None:
    then = replace(here, clock=lambda: 1_800_000_000.0 + at)
    more = {"attempt": 1, "message": "as told", "generation": "1000", **more}
    announce(then, name, deployment="tiny", **more)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(MANIFEST)
    return path


def test_every_end_of_a_watch_has_its_code() -> None:
    assert {TYPES[name].state for name in STREAM_ENDS} == set(WATCH_EXIT_CODES)


def test_deploy_uploads_the_manifest_as_it_is(
    here: Services, answer: Answer, manifest: Path
) -> None:
    code, (said,), err = answer("deploy", str(manifest))
    stored = here.objects.read(Uri("manifests", "tiny.yaml"))
    assert code == 0
    assert said == {
        "deployment": "tiny",
        "generation": stored.generation,
        "manifest": "gs://manifests/tiny.yaml",
    }
    assert stored.data == MANIFEST.encode()
    assert "is uploaded, generation" in err


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("tiny.yaml", "name: tiny\n", 3, "apiVersion"),
        ("other.yaml", MANIFEST, 3, "differs from the file's name"),
        ("tiny", MANIFEST, 3, "name a manifest .yaml, .yml, .json"),
        ("huge.yaml", "#" * 70_000, 3, "65536"),
        ("missing.yaml", None, 4, "does not exist"),
    ],
)
def test_what_would_be_rejected_is_not_uploaded(
    here: Services,
    answer: Answer,
    tmp_path: Path,
    name: str,
    content: str | None,
    code: int,
    said: str,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    found, (body,), _ = answer("deploy", str(path))
    assert (found, body["exit_code"]) == (code, code)
    assert said in body["error"]
    assert list(here.objects.list(Uri("manifests", ""))) == []


def test_waiting_in_vain_is_a_timeout(answer: Answer, manifest: Path) -> None:
    code, (body,), _ = answer("deploy", str(manifest), "--wait", "--timeout", "0.05")
    assert code == 5
    assert body["error"] == "no event of tiny came in 0.05 s; was on_manifest deployed?"


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (["manifest.accepted", "model.serving"], 0),
        (["manifest.accepted", "deployment.failed"], 1),
        (["manifest.accepted", "deployment.superseded"], 1),
        (["manifest.rejected"], 3),
        (["model.serving", "deployment.deleting", "deployment.deleted"], 4),
    ],
)
def test_watch_prints_every_event_and_answers_how_it_ended(
    here: Services, answer: Answer, told: list[str], code: int
) -> None:
    for at, name in enumerate(told):
        say(here, name, at)
    found, lines, _ = answer("watch", "tiny")
    assert found == code
    assert [line["type"].rsplit("deployment.", 1)[-1] for line in lines[: len(told)]] == [
        name.removeprefix("deployment.") for name in told
    ]


def test_a_watch_may_come_before_the_first_event(here: Services, answer: Answer) -> None:
    here.objects.write(Uri("manifests", "tiny.yml"), MANIFEST.encode(), if_generation="0")
    code, (body,), _ = answer("watch", "tiny", "--timeout", "0.05")
    assert code == 5
    assert "no event of tiny" in body["error"]


def test_a_watch_goes_on_after_an_earlier_attempts_end(here: Services, answer: Answer) -> None:
    say(here, "model.serving")
    say(here, "tpu.preempted", 1)
    began = time.monotonic()
    code, lines, _ = answer("watch", "tiny", "--timeout", "0.05")
    assert code == 5
    assert time.monotonic() - began >= 0.05
    assert lines[-1]["error"] == "tiny was still preempted after 0.05 s"


@pytest.mark.parametrize("command", ["status", "watch", "events", "logs", "retry", "delete"])
def test_a_deployment_that_never_was_is_not_found(answer: Answer, command: str) -> None:
    code, (body,), _ = answer(command, "nobody")
    assert code == 4
    assert "'nobody'" in body["error"]


def test_status_of_one_and_of_all(
    here: Services, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer("status")[1] == [{"deployments": []}]
    say(here, "manifest.accepted")
    code, (found,), _ = answer("status", "tiny")
    assert (code, found["state"], found["deployment"]) == (0, "accepted", "tiny")
    assert answer("status")[1] == [{"deployments": [found]}]
    assert run(app, ["status", "tiny"]) == 0
    assert "state       accepted since " in capsys.readouterr().out
    assert run(app, ["status"]) == 0
    assert capsys.readouterr().out.split()[:4] == ["tiny", "accepted", "0.00", "USD/h"]


def test_the_documentation_lists_what_status_prints(here: Services, answer: Answer) -> None:
    say(here, "manifest.accepted")
    (found,) = answer("status", "tiny")[1]
    table = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    row = table.partition("| `status NAME` | `")[2].partition("`")[0]
    assert set(row.split()) == set(found)


def test_status_is_a_line_each_however_long_the_reason(
    here: Services, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    say(here, "manifest.rejected", message="tiny.yaml: 2 problems\n  1:1: one\n  2:1: two")
    assert run(app, ["status"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("tiny.yaml: 2 problems")
    assert run(app, ["status", "tiny"]) == 0
    assert "  2:1: two\n" in capsys.readouterr().out


def test_status_says_when_an_older_generation_serves_on(
    here: Services, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    held = heads.Attempt("999", 1, model_id="/sax/test/tiny", sax_root="gs://cells/r")
    change_head(here, "tiny", lambda head: replace(head, serving=held))
    say(here, "manifest.rejected")
    assert run(app, ["status", "tiny"]) == 0
    assert "serving     generation 999, attempt 1\n" in capsys.readouterr().out


def test_status_of_a_head_whose_events_are_gone(
    here: Services, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    change_head(here, "tiny", lambda head: replace(head, desired="1000"))
    assert run(app, ["status", "tiny"]) == 0
    assert "state       unknown\n" in capsys.readouterr().out


def test_events_stand_below_each_other_whoever_wrote_them(
    here: Services, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    say(here, "manifest.accepted")
    say(here, "conversion.started", 0.123456)
    assert run(app, ["events", "tiny"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.index("manifest.accepted") == second.index("conversion.started")


def test_events_are_those_of_the_newest_generation(
    here: Services, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    say(here, "deployment.failed", generation="999")
    say(here, "manifest.accepted")
    _, lines, _ = answer("events", "tiny")
    assert [line["id"] for line in lines] == ["tiny/1000/1/manifest.accepted"]
    assert run(app, ["events", "tiny"]) == 0
    assert capsys.readouterr().out.split()[1:] == ["manifest.accepted", "as", "told"]


def test_logs_need_a_plan(here: Services, answer: Answer) -> None:
    say(here, "manifest.rejected")
    code, (body,), _ = answer("logs", "tiny")
    assert code == 4
    assert "no plan" in body["error"]


def test_delete_removes_the_manifest_and_only_it(here: Services, answer: Answer) -> None:
    uri = Uri("manifests", "tiny.yaml")
    generation = here.objects.write(uri, MANIFEST.encode(), if_generation="0") or ""
    source = Source(uri.bucket, uri.name)
    change_head(here, "tiny", lambda head: heads.desire(head, generation, source))
    assert answer("delete", "tiny")[:2] == (0, [{"deployment": "tiny", "deleted": True}])
    assert here.objects.stat(uri) is None
    assert answer("delete", "tiny")[:2] == (0, [{"deployment": "tiny", "deleted": False}])
    found = read_head(here, "tiny")
    assert found
    assert found[0] == Head("tiny", source=source, desired=generation, attempts=1)


@pytest.mark.parametrize("file", ["tiny.yaml", "tiny.json"])
def test_delete_removes_a_manifest_that_was_never_accepted(
    here: Services, answer: Answer, file: str
) -> None:
    uri = Uri("manifests", file)
    here.objects.write(uri, b"name: tiny", if_generation="0")
    say(here, "manifest.rejected")
    assert answer("delete", "tiny")[:2] == (0, [{"deployment": "tiny", "deleted": True}])
    assert here.objects.stat(uri) is None
    assert answer("delete", "tiny")[0] == 4


@pytest.mark.parametrize("given", ["nan", "0", "-1", "soon"])
def test_a_timeout_is_a_time(answer: Answer, manifest: Path, given: str) -> None:
    for command in (["watch", "tiny"], ["deploy", str(manifest), "--wait"]):
        code, _, err = answer(*command, "--timeout", given)
        assert (code, given in err) == (2, True)
