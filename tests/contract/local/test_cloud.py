"""The embedded cloud as a whole: Google's clients find it, and nothing of it outlives it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from google.api_core import exceptions

from saxflow.errors import ConfigurationError
from saxflow.gcp import clients
from saxflow.local.cloud import FAULTS_MOUNT, OUTCOMES_MOUNT, LocalCloud, Ports
from saxflow.local.images import ImageRegistry
from saxflow.settings import Endpoints, load_endpoints

PARENT = "projects/p-local/locations/us-central1"
FUNCTION = """
import functions_framework

@functions_framework.http
def greet(request):
    return {"hello": request.get_json(silent=True)}
"""


def new_cloud(directory: Path, **options: Any) -> LocalCloud:
    return LocalCloud(
        directory, project="p-local", location="us-central1", images=ImageRegistry(), **options
    )


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LocalCloud]:
    cloud = new_cloud(tmp_path / "data")
    cloud.start()
    yield cloud
    cloud.stop()


@pytest.fixture
def endpoints(cloud: LocalCloud) -> Endpoints:
    return load_endpoints(cloud.environ())


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def call(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(url, data, headers, method=method), timeout=60) as reply:
        return json.load(reply)


def test_every_client_finds_its_service(cloud: LocalCloud, endpoints: Endpoints) -> None:
    storage = clients.storage_client("p-local", endpoints)
    storage.create_bucket("buck").blob("o").upload_from_string("x")
    topic = "projects/p-local/topics/events"
    with clients.publisher_client(endpoints) as publisher:
        publisher.create_topic(name=topic)
    with clients.subscriber_client(endpoints) as subscriber:
        subscriber.create_subscription(name="projects/p-local/subscriptions/sub", topic=topic)
    assert list(clients.batch_client(endpoints).list_jobs(parent=PARENT)) == []
    assert list(clients.tpu_client(endpoints).list_nodes(parent=PARENT)) == []
    assert list(clients.workflows_client(endpoints).list_workflows(parent=PARENT)) == []
    with pytest.raises(exceptions.NotFound):
        clients.executions_client(endpoints).get_execution(
            name=f"{PARENT}/workflows/w/executions/e"
        )
    assert call("GET", f"{endpoints.api_root('pubsub')}/v1/{topic}") == {"name": topic}
    assert call("GET", f"{endpoints.api_root('batch')}/v1/{PARENT}/jobs") == {}
    assert call("GET", f"{endpoints.api_root('tpu')}/v2/{PARENT}/nodes") == {}


def test_notifications_reach_pubsub(cloud: LocalCloud, endpoints: Endpoints) -> None:
    storage = clients.storage_client("p-local", endpoints)
    topic, subscription = "projects/p-local/topics/changes", "projects/p-local/subscriptions/sub"
    bucket = storage.create_bucket("buck")
    with (
        clients.publisher_client(endpoints) as publisher,
        clients.subscriber_client(endpoints) as subscriber,
    ):
        publisher.create_topic(name=topic)
        subscriber.create_subscription(name=subscription, topic=topic)
        bucket.notification("changes", topic_project="p-local").create()
        bucket.blob("o").upload_from_string("x")
        (received,) = subscriber.pull(subscription=subscription, max_messages=1).received_messages
    assert received.message.attributes["objectId"] == "o"


def test_a_notification_that_cannot_be_sent_fails_no_upload(
    cloud: LocalCloud, endpoints: Endpoints
) -> None:
    storage = clients.storage_client("p-local", endpoints)
    topic = "projects/p-local/topics/changes"
    bucket = storage.create_bucket("buck")
    with clients.publisher_client(endpoints) as publisher:
        publisher.create_topic(name=topic)
    for attributes in ({"google": "a reserved key"}, {"long": "x" * 2000}):
        bucket.notification(
            "changes", topic_project="p-local", custom_attributes=attributes
        ).create()
    bucket.blob("o").upload_from_string("x")
    assert bucket.blob("o").download_as_bytes() == b"x"


def test_functions_triggers_and_schedules(
    cloud: LocalCloud, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    (tmp_path / "main.py").write_text(FUNCTION)
    function = cloud.add_function("greet", tmp_path, "greet", env={"EXTRA": "1"})
    function.wait_ready()
    assert call("POST", function.url, {"a": 1}) == {"hello": {"a": 1}}
    cloud.add_schedule("tick", url=function.url, every_seconds=0.05)
    cloud.add_trigger("created", bucket="buck", event="finalized", url=function.url)
    cloud.storage.store.create_bucket("buck", "p-local", {})
    clients.storage_client("p-local", load_endpoints(cloud.environ())).bucket("buck").blob(
        "o"
    ).upload_from_string("x")
    eventually(lambda: cloud.eventarc.pending() == 0)


def test_a_function_that_dies_is_started_again(
    cloud: LocalCloud, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    (tmp_path / "main.py").write_text(
        FUNCTION + "\n\ndef die(request):\n    import os\n    os._exit(3)\n"
    )
    function = cloud.add_function("die", tmp_path, "die")
    function.wait_ready()
    first = function.pid
    with pytest.raises(OSError):
        call("POST", function.url, {})
    eventually(lambda: function.pid != first and listens(function.port))


def test_a_function_that_cannot_start_says_why(cloud: LocalCloud, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import nonsense_module")
    function = cloud.add_function("broken", tmp_path, "broken")
    with pytest.raises(ConfigurationError, match="nonsense_module"):
        function.wait_ready()


def test_faults_and_outcomes_over_http(cloud: LocalCloud, endpoints: Endpoints) -> None:
    root = endpoints.rest
    rule = {"service": "storage", "method": "buckets.get", "action": "return-404"}
    assert call("POST", f"{root}{FAULTS_MOUNT}", rule)["faults"][0]["action"] == "return-404"
    assert clients.storage_client("p-local", endpoints).lookup_bucket("any") is None
    assert call("GET", f"{root}{FAULTS_MOUNT}")["faults"][0]["matched"] == 1
    assert call("DELETE", f"{root}{FAULTS_MOUNT}") == {"faults": []}
    outcome = {"kind": "hold", "contains": "queuedResources"}
    assert call("POST", f"{root}{OUTCOMES_MOUNT}", outcome)["outcomes"][0]["kind"] == "hold"
    assert call("DELETE", f"{root}{OUTCOMES_MOUNT}?release=queuedResources") == {"outcomes": []}
    for mount in (FAULTS_MOUNT, OUTCOMES_MOUNT):
        with pytest.raises(HTTPError, match="400") as caught:
            call("POST", f"{root}{mount}", {"action": "explode"})
        caught.value.close()
        with pytest.raises(HTTPError, match="400") as caught:
            urlopen(f"{root}{mount}", b"[" * 100_000, timeout=60)
        caught.value.close()


def test_what_is_stored_survives_a_restart(tmp_path: Path) -> None:
    first = new_cloud(tmp_path)
    first.start()
    client = clients.storage_client("p-local", load_endpoints(first.environ()))
    client.create_bucket("buck").blob("o").upload_from_string("kept")
    first.stop()
    second = new_cloud(tmp_path)
    second.start()
    client = clients.storage_client("p-local", load_endpoints(second.environ()))
    assert client.bucket("buck").blob("o").download_as_bytes() == b"kept"
    second.stop()


def test_fixed_ports_and_taken_ones(cloud: LocalCloud, tmp_path: Path) -> None:
    taken = int(cloud.environ()["SAXFLOW_GRPC_ENDPOINT"].rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=str(taken)):
        new_cloud(tmp_path / "other", ports=Ports(storage=taken))


def test_stop_releases_ports_processes_and_threads(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FUNCTION)
    cloud = new_cloud(tmp_path / "data")
    cloud.start()
    function = cloud.add_function("greet", tmp_path, "greet")
    function.wait_ready()
    environ = cloud.environ()
    cloud.stop()
    names = ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST", "SAXFLOW_GRPC_ENDPOINT",
             "SAXFLOW_REST_ENDPOINT")  # fmt: skip
    ports = [int(environ[name].rpartition(":")[2]) for name in names]
    assert not [port for port in [*ports, function.port] if listens(port)]


SERVE = """
import sys, threading
from pathlib import Path
from saxflow.local.cloud import LocalCloud
from saxflow.local.images import ImageRegistry

here = Path(sys.argv[1])
cloud = LocalCloud(here / "data", project="p", location="l", images=ImageRegistry())
cloud.start()
function = cloud.add_function("greet", here, "greet")
function.wait_ready()
try:
    print(function.port, cloud.storage.url.rpartition(":")[2], flush=True)
    while True:  # a signal between two bytecodes does not wake a wait without a timeout
        threading.Event().wait(0.1)
except KeyboardInterrupt:
    cloud.stop()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_process(
    tmp_path: Path, number: signal.Signals, eventually: Callable[..., None]
) -> None:
    (tmp_path / "main.py").write_text(FUNCTION)
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout
        ports = [int(word) for word in process.stdout.readline().split()]
        assert all(listens(port) for port in ports)
        process.send_signal(number)
        code = process.wait(timeout=60)
    assert code == (-number if number == signal.SIGKILL else 0)
    eventually(lambda: not any(listens(port) for port in ports))
