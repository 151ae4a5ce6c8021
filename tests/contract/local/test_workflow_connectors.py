"""Connectors and plain HTTP of a running workflow against the embedded services themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud import pubsub_v1, storage, workflows_v1
from google.cloud.workflows import executions_v1
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from saxflow.gcp import clients
from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry
from saxflow.settings import load_endpoints

PARENT = "projects/p/locations/us-central1"
TOPIC = "projects/p/topics/events"
State = executions_v1.Execution.State


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    images = ImageRegistry({"fine": [sys.executable, "-c", ""], "bad": ["false"]})
    cloud = LocalCloud(tmp_path, project="p", location="us-central1", images=images)
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    cloud.start()
    yield cloud
    cloud.stop()


def begin(
    cloud: LocalCloud, name: str, source: str, argument: Any = None
) -> executions_v1.Execution:
    endpoints = load_endpoints()
    workflows = clients.workflows_client(endpoints)
    workflows.create_workflow(
        parent=PARENT,
        workflow=workflows_v1.Workflow(source_contents=source),
        workflow_id=name,
    ).result(timeout=60)
    return clients.executions_client(endpoints).create_execution(
        parent=f"{PARENT}/workflows/{name}",
        execution=executions_v1.Execution(argument=json.dumps(argument)),
        timeout=60,
    )


def run(cloud: LocalCloud, name: str, source: str, argument: Any = None) -> executions_v1.Execution:
    started = begin(cloud, name, source, argument)
    cloud.executions.wait(started.name, 120)
    return clients.executions_client(load_endpoints()).get_execution(name=started.name)


STORAGE = """
main:
  steps:
    - name: {assign: [{encoded: '${text.url_encode("deep/object.json")}'}]}
    - write:
        call: googleapis.storage.v1.objects.insert
        args: {bucket: models, name: plain.json, uploadType: media, ifGenerationMatch: "0", body: {n: 1}}
        result: written
    - again:
        try:
          call: googleapis.storage.v1.objects.insert
          args: {bucket: models, name: plain.json, uploadType: media, ifGenerationMatch: "0", body: {n: 2}}
        except: {as: e, steps: [{keep: {assign: [{refused: "${e.code}"}]}}, {stop: {next: raw}}]}
    - raw:
        call: http.post
        args:
          url: https://storage.googleapis.com/upload/storage/v1/b/models/o
          query: {uploadType: media, name: deep/object.json, ifGenerationMatch: "0"}
          auth: {type: OAuth2}
          body: {deep: true}
    - read:
        call: googleapis.storage.v1.objects.get
        args: {bucket: models, object: "${encoded}", alt: media}
        result: content
    - facts:
        call: googleapis.storage.v1.objects.get
        args: {bucket: models, object: plain.json}
        result: facts
    - remove: {call: googleapis.storage.v1.objects.delete, args: {bucket: models, object: plain.json}}
    - list: {call: googleapis.storage.v1.objects.list, args: {bucket: models}, result: left}
    - out:
        return:
          content: ${content}
          same: ${facts.generation == written.generation}
          left: ${left.items[0].name}
"""


def test_storage(cloud: LocalCloud) -> None:
    storage.Client(project="p").create_bucket("models")
    done = run(cloud, "store", STORAGE)
    assert done.state == State.SUCCEEDED, done.error.context
    assert json.loads(done.result) == {
        "content": {"deep": True},
        "same": True,
        "left": "deep/object.json",
    }


PUBLISH = """
main:
  params: [topic]
  steps:
    - publish:
        call: googleapis.pubsub.v1.projects.topics.publish
        args:
          topic: ${topic}
          body:
            messages:
              - data: '${base64.encode(json.encode({"hello": "wörld"}))}'
                attributes: {kind: test}
                orderingKey: one
        result: published
    - out: {return: "${len(published.messageIds)}"}
"""


def test_publish(cloud: LocalCloud) -> None:
    publisher = clients.publisher_client()
    publisher.create_topic(name=TOPIC)
    channel = grpc.insecure_channel(cloud.environ()["PUBSUB_EMULATOR_HOST"])
    subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    subscription = subscriber.create_subscription(
        name="projects/p/subscriptions/all-events", topic=TOPIC
    ).name
    assert run(cloud, "tell", PUBLISH, TOPIC).result == "1"
    (received,) = subscriber.pull(subscription=subscription, max_messages=1).received_messages
    assert json.loads(received.message.data) == {"hello": "wörld"}
    assert dict(received.message.attributes) == {"kind": "test"}
    assert received.message.ordering_key == "one"
    channel.close()
    publisher.stop()


def test_one_workflow_runs_another(cloud: LocalCloud) -> None:
    run(cloud, "child", "main: {params: [n], steps: [{a: {return: '${n * 2}'}}]}", 1)
    source = """
    - a:
        call: googleapis.workflowexecutions.v1.projects.locations.workflows.executions.run
        args: {workflow_id: child, argument: 21}
        result: r
    - out: {return: "${r}"}
    """
    assert run(cloud, "parent", source).result == "42"


def test_tpu_over_plain_http(cloud: LocalCloud) -> None:
    source = f"""
    - ask:
        try:
          call: http.get
          args:
            url: https://tpu.googleapis.com/v2/{PARENT}/queuedResources/none
            auth: {{type: OAuth2}}
        except: {{as: e, steps: [{{out: {{return: "${{e.code}}"}}}}]}}
    """
    assert run(cloud, "ask", source).result == "404"


JOB = """
main:
  params: [image]
  steps:
    - create:
        try:
          call: googleapis.batch.v1.projects.locations.jobs.create
          args:
            parent: projects/p/locations/us-central1
            jobId: job
            body:
              taskGroups:
                - taskSpec: {runnables: [{container: {imageUri: "${image}"}}]}
            connector_params: {polling_policy: {initial_delay: 0.05}}
          result: job
        except: {as: e, steps: [{failed: {return: "${e.tags[0]}"}}]}
    - out: {return: "${job.status.state}"}
"""


@pytest.mark.parametrize(("image", "ended"), [("fine", "SUCCEEDED"), ("bad", "OperationError")])
def test_a_batch_job_is_waited_for(cloud: LocalCloud, image: str, ended: str) -> None:
    assert json.loads(run(cloud, "convert", JOB, image).result) == ended


ASK = """
main:
  params: [asked]
  steps:
    - ask:
        try:
          call: http.get
          args: {url: "${asked.url}", auth: {type: OAuth2}, timeout: "${asked.patience}"}
          result: r
        except: {as: e, steps: [{failed: {return: "${e.tags[0]}"}}]}
    - out: {return: "${r.code}"}
"""


@pytest.mark.parametrize(
    ("action", "patience", "outcome"),
    [
        ("return-503", 60, "HttpError"),
        ("return-429", 60, "HttpError"),
        ("return-reset-connection", 60, "ConnectionError"),
        ("stall-always", 0.3, "TimeoutError"),
    ],
)
@pytest.mark.parametrize("service", ["storage", "batch"])
def test_faults_of_services_are_errors_a_workflow_can_tell_apart(
    cloud: LocalCloud, service: str, action: str, patience: float, outcome: str
) -> None:
    storage.Client(project="p").create_bucket("models")
    urls = {
        "storage": "https://storage.googleapis.com/storage/v1/b/models/o",
        "batch": f"https://batch.googleapis.com/v1/{PARENT}/jobs",
    }
    cloud.faults.arm(service, "*", action, nth=2)
    first = run(cloud, "ask-first", ASK, {"url": urls[service], "patience": 60})
    second = run(cloud, "ask-second", ASK, {"url": urls[service], "patience": patience})
    assert (json.loads(first.result), json.loads(second.result)) == (200, outcome)


SILENT = """
import os, pathlib, socket
server, kept = socket.create_server(("127.0.0.1", int(os.environ["PORT"]))), []
while True:
    kept.append(server.accept()[0])
    if kept[-1].recv(100):
        pathlib.Path(os.environ["ASKED"]).touch()
"""
TELL = """
main:
  params: [url]
  steps:
    - ask:
        try: {call: http.get, args: {url: "${url}"}}
        except: {as: e, steps: [{tell: {call: sys.log, args: {data: "${e}"}}}]}
"""


def test_an_execution_does_not_see_the_end_of_the_cloud(
    cloud: LocalCloud, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    asked = tmp_path / "asked"
    command = [sys.executable, "-c", SILENT]
    service = cloud.add_command("silent", command, env={"ASKED": str(asked)})
    service.wait_ready()
    execution = begin(cloud, "ask", TELL, service.url)
    eventually(asked.exists)
    cloud.stop()
    assert not (tmp_path / "workflows" / execution.name / "log.jsonl").exists()
