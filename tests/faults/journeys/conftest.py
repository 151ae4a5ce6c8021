"""Whole journeys by the hundred: the real Workflows, functions and SAX admin; cheap machines.

The embedded cloud is the real one but for two things. A TPU worker is no process tree: where its
startup script would have brought up SAX, the cell's own admin and model server run on one event
loop of this process, with a model that answers the golden prompt at once. And the converter uploads
what the real one wrote before. Every request to a service passes `Chaos`, which knows the
deployment it belongs to, so that many journeys run side by side and each meets its own fault.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from saxflow import bundled, events
from saxflow import head as heads
from saxflow.cell.admin import Admin
from saxflow.cell.files import StateFile, announce, cell_directory, create_cell
from saxflow.cell.joining import stay_joined
from saxflow.cell.modelet import Modelet
from saxflow.cell.processes import ServerOptions, server_spec
from saxflow.errors import SaxflowError
from saxflow.events import Event
from saxflow.gcp import clients
from saxflow.gcp.objects import Objects, Uri
from saxflow.head import Head
from saxflow.local.clock import RealClock
from saxflow.local.cloud import LocalCloud
from saxflow.local.faults import Fault, parse_action
from saxflow.local.http import Dropped, HttpServer, Request, Response, json_response
from saxflow.local.images import ImageRegistry
from saxflow.local.storage.listing import Query
from saxflow.pipeline import accept as accepting
from saxflow.pipeline import commit, publish, reconcile, remove, requests
from saxflow.pipeline import services as wiring
from saxflow.pipeline.notification import Notification
from saxflow.pipeline.services import Services
from saxflow.sax import messages as m
from saxflow.sax.handlers import generic_handlers
from saxflow.sax.names import CellName
from saxflow.sax.servable import Servable
from saxflow.settings import load_settings
from saxflow.stack import images, provision
from saxflow.stack.laptop import BUCKETS, LOCATION, PROJECT, TOPIC

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
ZONES = ("us-central1-a", "us-east5-c")
GOLDEN_ANSWER = " It shows ships where the land is."
JOURNEY_SECONDS = 180.0
STUCK_SECONDS = 1.0
STALL_SECONDS = 4.0
LONGEST_SLEEP_SECONDS = 0.1
INTERVALS = {
    "SAXFLOW_POLL_SECONDS": "0.1",
    "SAXFLOW_PROGRESS_SECONDS": "0.3",
    "SAXFLOW_LEASE_SECONDS": "30",
    "SAXFLOW_STATE_STALE_SECONDS": "600",
    "SAXFLOW_DEADLINE_SCALE": "0.1",
}
_CASE = re.compile(r"case-\d{4}")
_NUMBERS = re.compile(r"\b(sf-case-N|case-N/)[0-9a-z-]*-a\d+|\d{10,}")
_EVENT = re.compile(r'key: "event_type"\s*value: "([a-z.]+)"')


class ImpatientClock(RealClock):
    """Cuts every sleep short, above all the pauses between a Workflow's retries."""

    def sleep(self, seconds: float, cancel: threading.Event | None = None) -> bool:
        """Wait, but not for long."""
        return super().sleep(min(seconds, LONGEST_SLEEP_SECONDS), cancel)


@dataclass(frozen=True, order=True)
class Point:
    """One call of a journey: what was asked of whom, the how-manieth time."""

    service: str
    method: str
    subject: str
    nth: int

    def __str__(self) -> str:
        return f"{self.service}.{self.method}[{self.subject}]#{self.nth}"


@dataclass
class Chaos:
    """Stands where the embedded services ask for scripted faults.

    Args:
        strikes: deployment -> the point that is struck, how, and how many times in a row.
        struck: deployments that have met their fault.
    """

    strikes: dict[str, tuple[Point, str, int]] = field(default_factory=dict)
    struck: set[str] = field(default_factory=set)
    calls: dict[str, list[Point]] = field(default_factory=dict)
    _counts: dict[str, Counter[tuple[str, str, str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, service: str, method: str, subject: Callable[[], str] = str) -> Fault | None:
        """Note a call, and strike it when its time has come."""
        if service in ("executions", "operations", "workflows", "eventarc"):
            return None
        text = subject()
        if not (found := _CASE.search(text)):
            return None
        name = found[0]
        kind = (service, method, _subject(service, text))
        with self._lock:
            counts = self._counts.setdefault(name, Counter())
            counts[kind] += 1
            point = Point(*kind, counts[kind])
            self.calls.setdefault(name, []).append(point)
            return self._strike(name, point)

    def _strike(self, name: str, point: Point) -> Fault | None:
        if name not in self.strikes:
            return None
        wanted, action, times = self.strikes[name]
        same = replace(point, nth=wanted.nth) == wanted
        if not same or not wanted.nth <= point.nth < wanted.nth + times:
            return None
        self.struck.add(name)
        return parse_action(action, stall_seconds=STALL_SECONDS)


SAID_BY_FUNCTIONS = ("manifest.accepted", "tpu.preempted")


def _subject(service: str, text: str) -> str:
    if service == "pubsub":
        found = _EVENT.search(text)
        return found[1] if found else ""
    if service != "storage":
        return ""
    bare = _CASE.sub("case-N", text).removeprefix("saxflow-")
    return _NUMBERS.sub(lambda found: (found[1] or "") + "G", bare)


class Answering:
    """A loaded model that knows one answer."""

    async def generate(self, request: m.GenerateRequest) -> m.GenerateResponse:
        """Answer the golden prompt."""
        del request
        return m.GenerateResponse(texts=[m.DecodedText(text=GOLDEN_ANSWER, score=-1.0)])


class Loading:
    """Loads at once."""

    streams = False

    def load(self, request: m.LoadRequest) -> Any:
        """Return the model."""
        del request
        return Answering()

    def unload(self) -> None:
        """Give it up."""


class Cells:
    """The event loop on which all cells live."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, config: Mapping[str, Any], address: str) -> Any:
        """Bring up the cell of a worker; cancel what is returned to end it."""
        return asyncio.run_coroutine_threadsafe(_cell(config, address), self.loop)

    def stop(self) -> None:
        """End the loop, once every cell has ended."""
        asyncio.run_coroutine_threadsafe(_ended(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


async def _ended() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _insist(act: Callable[[], Any]) -> Any:
    """Repeat what a startup script and a supervisor would repeat."""
    while True:
        try:
            return await asyncio.to_thread(act)
        except SaxflowError:
            await asyncio.sleep(0.2)


async def _cell(config: Mapping[str, Any], address: str) -> None:
    cell = CellName.parse(config["cell"])
    root, fs_root = config["sax_root"], config["fs_root"]
    await _insist(lambda: create_cell(root, cell, fs_root))
    directory = cell_directory(fs_root, cell)
    await _insist(directory.create)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    here = f"{address}:{server.add_insecure_port(f'{address}:0')}"
    admin = await _insist(lambda: Admin(cell, here, StateFile(directory)))
    behaviors = {**admin.behaviors(), **Modelet(Loading()).behaviors()}
    server.add_generic_rpc_handlers(generic_handlers(behaviors))
    await server.start()
    tasks = [asyncio.create_task(admin.run())]
    try:
        await _insist(lambda: announce(root, cell, here))
        tasks.append(asyncio.create_task(stay_joined(root, cell, _join(config, here))))
        await _insist(lambda: _report(config))
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop(None)


def _join(config: Mapping[str, Any], address: str) -> m.JoinRequest:
    dims = dict.fromkeys(
        ("layers", "heads", "kv_heads", "head_dim", "model_dim", "hidden_dim", "vocab"), 4
    )
    servable = Servable(**dims, tokenizer="ids:", model_path=config["model_path"])
    options = ServerOptions(
        CellName.parse(config["cell"]),
        config["sax_root"],
        "",
        0,
        servable,
        config["chip"],
        config["topology"],
    )
    return m.JoinRequest(address=address, model_server=server_spec(options))


def _report(config: Mapping[str, Any]) -> None:
    said = {
        "worker": 0,
        "state": "ready",
        "boot_id": "boot",
        "epoch": 1,
        "time": datetime.now(UTC).isoformat(),
        "log": "",
    }
    uri = Uri(config["cells_bucket"], f"{config['cell_prefix']}/workers/0.json")
    Objects().write(uri, json.dumps(said).encode(), if_generation=None)


def machine_class(cells: Cells) -> type:
    """Return what stands for `saxflow.local.vm.launcher.VirtualMachine`."""

    class Machine:
        def __init__(self, paths: Any, *, address: str, metadata: Mapping[str, str], **_: Any):
            self._address = address
            self._config = json.loads(metadata["instance/attributes/saxflow-config"])
            self._life: Any = None

        @property
        def running(self) -> bool:
            return self._life is not None and not self._life.done()

        def power_on(self) -> None:
            self._life = cells.start(self._config, self._address)

        def power_off(self) -> None:
            if self._life is not None:
                self._life.cancel()

        erase = power_off

    return Machine


@dataclass
class Outcome:
    """How a journey ended and what is wrong with it."""

    name: str
    end: str
    seconds: float
    problems: list[str]
    revived: int = 0


class World:
    """An embedded cloud with saxflow on it, and journeys through it."""

    def __init__(self, cloud: LocalCloud, services: Services, chaos: Chaos, manifest: str) -> None:
        self.cloud = cloud
        self.services = services
        self.chaos = chaos
        self.manifest = manifest
        self._numbers = itertools.count(1)
        self._reconciling = threading.Lock()

    # --- what a user does

    def name(self) -> str:
        """Return a deployment name that is not in use."""
        return f"case-{next(self._numbers):04d}"

    def upload(self, name: str, **changes: str) -> Notification:
        """Drop a manifest, without anybody being told."""
        text = self.manifest.replace("name: tiny-llama", f"name: {name}")
        text += f"checkpoint:\n  destination: gs://saxflow-models/{name}/llama\n"
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        uri = Uri(self.services.settings.manifests_bucket, f"{name}.yaml")
        generation = _certainly(
            lambda: self.services.objects.write(uri, text.encode(), if_generation=None)
        )
        return Notification("finalized", uri.bucket, uri.name, generation)

    def drop(self, name: str, *, services: Services | None = None, **changes: str) -> str:
        """Drop a manifest and deliver its event until it is taken; return its generation."""
        event = self.upload(name, **changes)
        _certainly(lambda: accepting.accept(services or self.services, event))
        return event.generation

    def hasty(self, lease_seconds: float | None) -> Services:
        """Return services whose plans have this lease."""
        if lease_seconds is None:
            return self.services
        settings = replace(self.services.settings, lease_seconds=lease_seconds)
        return replace(self.services, settings=settings)

    def remove(self, name: str, generation: str) -> None:
        """Delete a manifest and deliver its event until it is taken."""
        uri = Uri(self.services.settings.manifests_bucket, f"{name}.yaml")
        _certainly(lambda: self.services.objects.delete(uri))
        event = Notification("deleted", uri.bucket, uri.name, generation)
        _certainly(lambda: remove.remove(self.services, event))

    def reconcile(self, *, later: float = 0.0) -> reconcile.Report:
        """Make one pass, as if that many seconds later."""
        clock = self.services.clock
        with self._reconciling:
            return reconcile.reconcile(replace(self.services, clock=lambda: clock() + later))

    # --- what can be seen, without a call that Chaos would count

    def head(self, name: str) -> Head | None:
        """Return a head from the disk."""
        text = self._stored(f"deployments/{name}/head.json")
        return heads.from_json(json.loads(text)) if text else None

    def log(self, name: str, generation: str) -> list[Event]:
        """Return a generation's events from the disk."""
        names = self.names("saxflow-control", f"deployments/{name}/{generation}/events/")
        texts = (self._stored(each) for each in names)
        return [events.decode(text) for text in texts if text]

    def names(self, bucket: str, prefix: str) -> list[str]:
        """Return the objects below a prefix from the disk."""
        records, _ = self.cloud.storage.store.list(bucket, Query(prefix=prefix))
        return [record.name for record in records]

    def _stored(self, name: str) -> bytes | None:
        from google.api_core import exceptions

        try:
            _, file = self.cloud.storage.store.open("saxflow-control", name)
        except exceptions.NotFound:
            return None
        with file:
            return file.read()

    def tpus(self, name: str) -> list[str]:
        """Return the QueuedResources of a deployment."""
        found: list[str] = []
        for zone in ZONES:
            for each in self.services.tpu.list_queued_resources(
                parent=f"projects/{PROJECT}/locations/{zone}"
            ):
                if f"/sf-{name}-" in each.name:
                    found.append(each.name.rpartition("/")[2])
        return found

    def jobs(self, name: str) -> list[str]:
        """Return the states of a deployment's Jobs."""
        jobs = self.services.batch.list_jobs(parent=PARENT)
        return [job.status.state.name for job in jobs if f"/sf-{name}-" in job.name]

    def running(self, name: str) -> list[str]:
        """Return the Executions of a deployment that have not ended."""
        shelf = self.cloud.executions._shelf
        alive = [shelf.known[each] for each in list(shelf.live)]
        return [each.name for each in alive if each.labels["deployment"] == name]

    def kill(self, name: str) -> None:
        """Cancel every Execution of a deployment."""
        for execution in self.running(name):
            with suppress(Exception):
                self.services.executions.cancel_execution(name=execution)

    # --- journeys

    def settle(
        self, name: str, done: Callable[[Head], bool], watch: Callable[[], None] | None
    ) -> int:
        """Wait until the head says so; reconcile whenever nothing runs. Return how often it did.

        Args:
            watch: called again and again meanwhile.
        """
        deadline = time.monotonic() + JOURNEY_SECONDS
        idle_since, passes = 0.0, 0
        while time.monotonic() < deadline:
            if watch:
                watch()
            found = self.head(name)
            if found and done(found) and not self.running(name):
                return passes
            if self.running(name):
                idle_since = 0.0
            elif not idle_since:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > STUCK_SECONDS:
                self.reconcile()
                idle_since, passes = 0.0, passes + 1
            time.sleep(0.02)
        raise AssertionError(f"{name} is stuck: {self.head(name)}, {self.running(name)}")

    def deployed(self, name: str, generation: str, watch: Callable[[], None] | None = None) -> int:
        """Wait for the end of a deployment; return how often it had to be reconciled."""
        return self.settle(
            name,
            lambda head: (
                head.lease is None
                and head.finished is not None
                and (head.finished.generation, head.finished.attempt) == (generation, head.attempts)
            ),
            watch,
        )

    def deleted(self, name: str, watch: Callable[[], None] | None = None) -> int:
        """Wait for the end of a teardown; return how often it had to be reconciled."""
        return self.settle(
            name,
            lambda head: (
                head.lease is None
                and head.finished is not None
                and head.finished.outcome == "deleted"
                and head.serving is None
                and head.candidate is None
            ),
            watch,
        )

    def journey(self, name: str, *, lease_seconds: float | None = None) -> Outcome:
        """Deploy, look, delete, look; whatever Chaos holds in store for this name."""
        began = time.monotonic()
        generation, problems, end, revived = "", [], "stuck", 0
        try:
            generation = self.drop(name, services=self.hasty(lease_seconds))
            revived = self.deployed(name, generation)
            head = self.head(name)
            end = head.finished.outcome if head and head.finished else "nothing"
            problems += self.check(name, generation)
            self.remove(name, generation)
            revived += self.deleted(name)
            problems += self.check_gone(name, generation)
        except AssertionError as error:
            problems.append(str(error))
        return Outcome(name, end, time.monotonic() - began, problems, revived)

    # --- what must hold

    def check(self, name: str, generation: str) -> list[str]:
        """Return what is wrong after a deployment has ended."""
        head, log = self.head(name), self.log(name, generation)
        assert head
        said = [event.name for event in log]
        serving = head.serving is not None and head.serving.generation == generation
        live = self.tpus(name)
        found = list(self._check_log(log))
        if serving:
            assert head.serving
            if live != [head.serving.queued_resource]:
                found.append(f"serving, with TPUs {live}")
            if "model.serving" not in said or events.fold(log).state != "serving":
                found.append(f"serving, but the log folds to {events.fold(log).state}: {said}")
            found += self._check_checkpoint(name)
        else:
            if live:
                found.append(f"failed, with TPUs {live}")
            if "deployment.failed" not in said or events.fold(log).state != "failed":
                found.append(f"failed, but the log folds to {events.fold(log).state}: {said}")
            found += [
                f"{event.name} without a reason"
                for event in log
                if event.name == "deployment.failed" and not event.data["failure"]["reason"].strip()
            ]
        if head.lease or head.candidate:
            found.append(f"left in the head: {head.lease} {head.candidate}")
        if running := [state for state in self.jobs(name) if state in ("QUEUED", "RUNNING")]:
            found.append(f"Jobs still {running}")
        keep = head.serving.more["cell_root"] if head.serving else "nothing"
        if left := [
            each
            for each in self.names("saxflow-cells", f"{name}/")
            if not each.startswith(f"{keep}/")
        ]:
            found.append(f"left in the cells bucket: {left[:3]}")
        return found

    def check_gone(self, name: str, generation: str) -> list[str]:
        """Return what is left after the manifest was deleted."""
        log = self.log(name, generation)
        found = list(self._check_log(log))
        if live := self.tpus(name):
            found.append(f"deleted, with TPUs {live}")
        if running := [state for state in self.jobs(name) if state in ("QUEUED", "RUNNING")]:
            found.append(f"deleted, with Jobs {running}")
        if left := self.names("saxflow-cells", f"{name}/"):
            found.append(f"deleted, with {left[:3]} in the cells bucket")
        if log[-1].name != "deployment.deleted" or events.fold(log).state != "deleted":
            found.append(f"deleted, but the log says {[event.name for event in log]}")
        return found

    def _check_log(self, log: list[Event]) -> Generator[str]:
        ids = Counter(event.id for event in log)
        for identifier, times in ids.items():
            if times > 1:
                yield f"{identifier} stands {times} times in the log"
        # what functions say beside a running Execution may be appended a moment after it was said
        own = [event for event in log if event.name not in SAID_BY_FUNCTIONS]
        if [event.id for event in own] != [event.id for event in sorted(own, key=_moment)]:
            yield "the log is not in the order of time"

    def _check_checkpoint(self, name: str) -> Generator[str]:
        """Markers come after everything else, the root marker last."""
        records, _ = self.cloud.storage.store.list("saxflow-models", Query(prefix=f"{name}/"))
        step = {
            record.name.partition("/checkpoint_00000000/")[2]: record.generation
            for record in records
            if "/checkpoint_00000000/" in record.name
        }
        markers = ["metadata/commit_success.txt", "state/commit_success.txt", "commit_success.txt"]
        others = [generation for each, generation in step.items() if each not in markers]
        order = [step.get(each, 0) for each in markers]
        if order != sorted(order) or not others or max(others) > order[0]:
            yield f"markers were not written last: {order}"


def _moment(event: Event) -> str:
    return event.time


def _certainly(act: Callable[[], Any]) -> Any:
    """Repeat an act as Eventarc, or a user, does until it is taken."""
    for _ in range(20):
        try:
            return act()
        except SaxflowError:
            time.sleep(0.2)
    return act()


class Functions:
    """Both functions of the Workflows behind one HTTP server, with faults of their own."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos
        self.server = HttpServer(self._handle)

    def _handle(self, request: Request) -> Response:
        body = json.loads(request.body.read())
        method = request.path.strip("/") + "." + str(body.get("verb", ""))
        fault = self._chaos.take("functions", method, lambda: json.dumps(body))
        if fault and fault.kind == "return":
            return json_response(fault.status, {"error": {"message": "scripted"}})
        if fault and fault.kind == "stall":
            threading.Event().wait(fault.stall_seconds)
        if fault and fault.kind != "lost":
            raise Dropped(reset=True)
        if request.path == "/commit":
            act: Any = lambda here, core, _: commit.commit_checkpoint(here, core)  # noqa: E731
        else:
            act = publish.act
        answer, status = requests.answer(body, act)
        if fault:
            raise Dropped
        return json_response(status, answer)


def _real_conversion(services: Services, manifest: str, directory: Path) -> Path:
    """Convert the example with the real worker; return its fingerprint directory."""
    from saxflow import manifest as manifests

    parsed = manifests.parse(manifest.encode(), source_name="tiny-llama.yaml")
    event = Notification("finalized", "saxflow-manifests", "tiny-llama.yaml", "1")
    plan = accepting.compile_manifest(services, parsed, event, 1)
    job = json.loads(plan.parts["job.json"])
    arguments = job["taskGroups"][0]["taskSpec"]["runnables"][0]["container"]["commands"]
    place = directory / plan.core["checkpoint"]["fingerprint"]
    place.mkdir(parents=True)
    arguments[arguments.index("--destination") + 1] = place.as_uri()
    worker = str(bundled.path("batch_jobs/convert_checkpoint/main.py"))
    environ = os.environ | {"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "1"}
    subprocess.run([sys.executable, worker, *arguments], check=True, env=environ)
    return place


def impatient(source: str) -> str:
    """Return a Workflow whose retries wait a hundredth as long; how often they try stays."""
    short, found = re.subn(
        r"initial_delay: (\d+), max_delay: (\d+)",
        lambda match: f"initial_delay: {int(match[1]) / 100}, max_delay: {int(match[2]) / 100}",
        source,
    )
    assert found
    return short


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Generator[World]:
    """Return a cloud with saxflow on it and the example's weights in it."""
    data, golden = tmp_path_factory.mktemp("cloud"), tmp_path_factory.mktemp("golden")
    patch, cells, chaos = pytest.MonkeyPatch(), Cells(), Chaos()
    patch.setattr("saxflow.local.tpu.nodes.VirtualMachine", machine_class(cells))
    registry = ImageRegistry(
        {
            images.CONVERT: (
                sys.executable,
                "-I",
                "-S",
                str(Path(__file__).with_name("converter.py")),
                str(golden / "converted"),
            ),
            images.ADMIN: ("true",),
            images.MODEL_SERVER: ("true",),
        }
    )
    cloud = LocalCloud(
        data, project=PROJECT, location=LOCATION, images=registry, clock=ImpatientClock()
    )
    patch.setattr(cloud.faults, "take", chaos.take)
    functions = Functions(chaos)
    functions.server.start()
    cloud.start()
    environ = {
        **cloud.environ(),
        **BUCKETS,
        **INTERVALS,
        "SAXFLOW_PROJECT": PROJECT,
        "SAXFLOW_LOCATION": LOCATION,
        "SAXFLOW_EVENTS_TOPIC": TOPIC,
        "SAXFLOW_CONVERT_IMAGE": images.CONVERT,
        "SAXFLOW_ADMIN_IMAGE": images.ADMIN,
        "SAXFLOW_MODEL_SERVER_IMAGE": images.MODEL_SERVER,
        "SAXFLOW_COMMIT_URL": f"{functions.server.url}/commit",
        "SAXFLOW_PUBLISH_URL": f"{functions.server.url}/publish",
    }
    for key, value in environ.items():
        patch.setenv(key, value)
    wiring.services.cache_clear()
    settings = load_settings()
    provision.ensure_buckets(settings.endpoints, PROJECT, BUCKETS.values(), LOCATION)
    provision.ensure_topic(settings.endpoints, PROJECT, TOPIC)
    for workflow, file in (("deploy-model", "deploy_model"), ("teardown-model", "teardown_model")):
        source = impatient(bundled.text(f"workflows/{file}.yaml"))
        variables = {"SAXFLOW_STORAGE_ROOT": cloud.storage.url}
        provision.ensure_workflow(settings.endpoints, PARENT, workflow, source, variables)
    services = Services(settings, Objects(clients.storage_client(PROJECT, settings.endpoints)))
    place = Uri("saxflow-models", "tiny-llama")
    for name in ("consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model"):
        data_of = (tiny_llama / name).read_bytes()
        services.objects.write(place.child(name), data_of, if_generation=None)
    manifest = (tiny_llama / "tiny-llama.yaml").read_text(encoding="utf-8")
    converted = _real_conversion(services, manifest, golden)
    converted.rename(golden / "converted")
    yield World(cloud, services, chaos, manifest)
    cloud.stop()
    functions.server.stop()
    cells.stop()
    wiring.services.cache_clear()
    patch.undo()
