from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from saxflow.local.clock import VirtualClock
from saxflow.local.workflows import HttpClient, WorkflowFailure
from saxflow.local.workflows.connectors import CONNECTORS

RunIt = Callable[..., Any]
ROOTS = ("batch", "pubsub", "storage", "workflowexecutions")


@pytest.fixture
def call(peer: Any, run: RunIt) -> Callable[..., Any]:
    """Run one connector step against the peer."""

    def step(name: str, args: dict[str, Any]) -> Any:
        client = HttpClient({f"https://{root}.googleapis.com": peer.url for root in ROOTS})
        source = {"call": f"googleapis.{name}", "args": args, "result": "r"}
        steps = [{"a": source}, {"b": {"return": "${r}"}}]
        env = {"GOOGLE_CLOUD_PROJECT_ID": "p", "GOOGLE_CLOUD_LOCATION": "l"}
        try:
            return run(json.dumps({"main": {"steps": steps}}), http=client, env=env)
        finally:
            client.close()

    return step


def test_publish(peer: Any, answer: Any, call: RunIt) -> None:
    peer.respond = lambda seen: answer.of({"messageIds": ["1"]})
    body = {"messages": [{"data": "aGk=", "attributes": {"a": "b"}}]}
    topic = "projects/p/topics/t"
    assert call("pubsub.v1.projects.topics.publish", {"topic": topic, "body": body}) == {
        "messageIds": ["1"]
    }
    (seen,) = peer.requests
    assert (seen.method, seen.path, seen.json) == ("POST", f"/v1/{topic}:publish", body)
    assert seen.headers["authorization"].startswith("Bearer ")


def test_objects(peer: Any, answer: Any, call: RunIt) -> None:
    insert = {
        "bucket": "b",
        "name": "x/y",
        "uploadType": "media",
        "ifGenerationMatch": "0",
        "body": "text",
    }
    call("storage.v1.objects.insert", insert)
    call("storage.v1.objects.get", {"bucket": "b", "object": "x%2Fy", "alt": "media"})
    call("storage.v1.objects.list", {"bucket": "b", "prefix": "x/"})
    call("storage.v1.objects.delete", {"bucket": "b", "object": "x%2Fy"})
    assert [(seen.method, seen.path) for seen in peer.requests] == [
        ("POST", "/upload/storage/v1/b/b/o?name=x%2Fy&uploadType=media&ifGenerationMatch=0"),
        ("GET", "/storage/v1/b/b/o/x%2Fy?alt=media"),
        ("GET", "/storage/v1/b/b/o?prefix=x%2F"),
        ("DELETE", "/storage/v1/b/b/o/x%2Fy"),
    ]
    assert peer.requests[0].body == b"text"


def jobs(answer: Any, *states: str) -> Callable[[Any], Any]:
    waiting = list(states)
    return lambda seen: answer.of(
        {"name": "projects/p/jobs/j", "status": {"state": waiting.pop(0)}}
    )


JOB = {"parent": "projects/p/locations/l", "jobId": "j", "body": {"taskGroups": []}}


def test_a_job_is_waited_for(peer: Any, answer: Any, call: RunIt, clock: VirtualClock) -> None:
    peer.respond = jobs(answer, "QUEUED", "RUNNING", "SUCCEEDED")
    job = call("batch.v1.projects.locations.jobs.create", JOB)
    assert job["status"]["state"] == "SUCCEEDED"
    assert [seen.path for seen in peer.requests][1:] == ["/v1/projects/p/jobs/j"] * 2
    assert clock.time() == 1000 + 1 + 1.25


def test_a_failed_job_is_an_operation_error(peer: Any, answer: Any, call: RunIt) -> None:
    peer.respond = jobs(answer, "QUEUED", "FAILED")
    with pytest.raises(WorkflowFailure) as caught:
        call("batch.v1.projects.locations.jobs.create", JOB)
    assert caught.value.payload["tags"] == ["OperationError"]


def test_a_job_that_takes_too_long_is_a_timeout(
    peer: Any, answer: Any, call: RunIt, clock: VirtualClock
) -> None:
    peer.respond = jobs(answer, *["RUNNING"] * 200)
    with pytest.raises(WorkflowFailure) as caught:
        call(
            "batch.v1.projects.locations.jobs.create", {**JOB, "connector_params": {"timeout": 60}}
        )
    assert caught.value.payload["tags"] == ["TimeoutError"]
    assert clock.time() == 1000 + 60


def test_a_job_is_looked_at_when_its_time_is_over(
    peer: Any, answer: Any, call: RunIt, clock: VirtualClock
) -> None:
    peer.respond = jobs(answer, "RUNNING", "SUCCEEDED")
    options = {"timeout": 5, "polling_policy": {"initial_delay": 60}}
    job = call("batch.v1.projects.locations.jobs.create", {**JOB, "connector_params": options})
    assert job["status"]["state"] == "SUCCEEDED"
    assert clock.time() == 1000 + 5


def test_an_answer_that_is_no_resource_is_an_error_of_the_language(
    peer: Any, answer: Any, call: RunIt
) -> None:
    peer.respond = lambda seen: answer.of(
        {"name": "projects/p/jobs/j"} if seen.method == "POST" else ["no", "job"]
    )
    with pytest.raises(WorkflowFailure, match="must be of type map, not list"):
        call("batch.v1.projects.locations.jobs.create", JOB)


def test_polling_can_be_skipped(peer: Any, answer: Any, call: RunIt) -> None:
    peer.respond = jobs(answer, "QUEUED")
    arguments = {**JOB, "connector_params": {"skip_polling": True}}
    assert call("batch.v1.projects.locations.jobs.create", arguments)["status"]["state"] == "QUEUED"


def test_another_workflow_is_run(peer: Any, answer: Any, call: RunIt) -> None:
    def respond(seen: Any) -> Any:
        name = "projects/p/locations/l/workflows/w/executions/e"
        if seen.method == "POST":
            return answer.of({"name": name, "state": "ACTIVE"})
        return answer.of({"name": name, "state": "SUCCEEDED", "result": '{"n": 1}'})

    peer.respond = respond
    run = "workflowexecutions.v1.projects.locations.workflows.executions.run"
    assert call(run, {"workflow_id": "w", "argument": {"a": 1}}) == {"n": 1}
    assert peer.requests[0].path == "/v1/projects/p/locations/l/workflows/w/executions"
    assert peer.requests[0].json == {"argument": '{"a":1}'}


@pytest.mark.parametrize(("verb", "code", "calls"), [("get", 502, 2), ("delete", 502, 1)])
def test_reads_are_repeated_and_writes_only_when_harmless(
    peer: Any, answer: Any, call: RunIt, verb: str, code: int, calls: int
) -> None:
    peer.respond = lambda seen: answer.of({}, code if len(peer.requests) == 1 else 200)
    arguments = {"bucket": "b", "object": "o"}
    if calls == 1:
        with pytest.raises(WorkflowFailure):
            call(f"storage.v1.objects.{verb}", arguments)
    else:
        call(f"storage.v1.objects.{verb}", arguments)
    assert len(peer.requests) == calls


def test_every_connector_takes_what_its_path_names() -> None:
    for name, connector in CONNECTORS.items():
        assert set(connector.parameters) <= set(connector.signature.names), name
