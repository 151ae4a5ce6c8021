"""ExecutionsService: run workflows in threads and keep what became of them.

The real service carries an Execution across its own restarts; this one cannot, and says so: what was
running when the embedded cloud went down is FAILED when it comes up again.

Source: google/cloud/workflows/executions/v1/executions.proto
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from google.api_core import exceptions
from google.cloud import workflows_v1
from google.cloud.workflows import executions_v1
from google.protobuf import json_format

from saxflow.local.clock import Clock
from saxflow.local.http import Handler, Request, Response, json_response
from saxflow.local.messages import copied, since, timestamp
from saxflow.local.paging import page
from saxflow.local.rpc.operations import plain
from saxflow.local.workflows.archive import Archive
from saxflow.local.workflows.callbacks import MOUNT, ExecutionCallbacks
from saxflow.local.workflows.definitions import WorkflowsService
from saxflow.local.workflows.failures import Cancelled, Value, WorkflowFailure, failure
from saxflow.local.workflows.http import HttpClient
from saxflow.local.workflows.interpreter import Run
from saxflow.local.workflows.listing import ordered, parse_filter
from saxflow.local.workflows.parser import parse_workflow
from saxflow.local.workflows.records import (
    basic_view,
    check_labels,
    checked_argument,
    environment,
    error_of,
    from_record,
    started,
)
from saxflow.local.workflows.runtime import Cancellation, Runtime
from saxflow.local.workflows.values import to_json

MAX_ACTIVE = 500
PAGE_SIZE = 100
LARGEST_BASIC_PAGE, LARGEST_FULL_PAGE = 1000, 100

State = executions_v1.Execution.State

_RUNNING = (State.ACTIVE, State.QUEUED)
_STOP_SECONDS = 5.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Live:
    """An Execution that has not ended."""

    run: Run
    argument: Value
    callbacks: ExecutionCallbacks
    cancellation: Cancellation


@dataclass
class _Shelf:
    """All Executions by name, oldest first, and the ones that run."""

    known: dict[str, executions_v1.Execution] = field(
        default_factory=dict[str, executions_v1.Execution]
    )
    live: dict[str, _Live] = field(default_factory=dict[str, _Live])
    queue: list[str] = field(default_factory=list[str])


class ExecutionsService:
    """The Executions of one embedded cloud.

    Args:
        workflows: where definitions are.
        data: directory where Executions are kept; the same that `workflows` has.
        clock: all time that workflows see.
        http: makes their requests; its `hosts` lead Google's roots to local ones.
        rest_root: returns the URL of the REST server, for callback URLs.
        max_active: more Executions than this wait as QUEUED.
    """

    def __init__(
        self,
        workflows: WorkflowsService,
        data: Path,
        clock: Clock,
        http: HttpClient,
        *,
        rest_root: Callable[[], str] = str,
        max_active: int = MAX_ACTIVE,
    ) -> None:
        self._workflows = workflows
        self._data = data
        self._archive = Archive(data, "execution.json")
        self._clock = clock
        self._http = http
        self._rest_root = rest_root
        self._max_active = max_active
        self._changed = threading.Condition()
        self._shelf = _Shelf()
        self._threads: set[threading.Thread] = set()
        self._stopping = False
        workflows.on_delete.append(self._forget)
        self._load()

    # the API

    def create_execution(
        self, request: executions_v1.CreateExecutionRequest
    ) -> executions_v1.Execution:
        """Start an Execution, or queue it when too many run.

        Raises:
            NotFound: there is no such workflow.
            InvalidArgument: an argument that is not JSON or too long, or bad labels.
        """
        argument = checked_argument(request.execution.argument)
        check_labels(request.execution.labels)
        execution = executions_v1.Execution(
            name=f"{request.parent}/executions/{uuid.uuid4()}",
            start_time=timestamp(self._clock.now()),
            argument=request.execution.argument or "null",
            call_log_level=request.execution.call_log_level,
            state=State.QUEUED,
        )
        with self._workflows.holding(request.parent) as definition, self._changed:
            execution.workflow_revision_id = definition.revision_id
            execution.labels = {**definition.labels, **request.execution.labels}
            live = self._prepare(execution.name, definition, argument)
            self._save(execution)
            self._shelf.known[execution.name] = execution
            self._shelf.live[execution.name] = live
            self._shelf.queue.append(execution.name)
            self._admit()
            return self._seen(execution)

    def get_execution(self, request: executions_v1.GetExecutionRequest) -> executions_v1.Execution:
        """Return an Execution, in full unless BASIC is asked for.

        Raises:
            NotFound: there is none of this name.
        """
        with self._changed:
            execution = self._seen(self._known(request.name))
        basic = request.view == executions_v1.ExecutionView.BASIC
        return basic_view(execution) if basic else execution

    def list_executions(
        self, request: executions_v1.ListExecutionsRequest
    ) -> executions_v1.ListExecutionsResponse:
        """Return the Executions of a workflow, the newest first, BASIC unless FULL is asked for.

        Raises:
            NotFound: there is no such workflow.
            InvalidArgument: a filter or order that is not understood.
        """
        self._workflows.current(request.parent)
        wanted = parse_filter(request.filter)
        prefix = f"{request.parent}/executions/"
        full = request.view == executions_v1.ExecutionView.FULL
        size = min(
            request.page_size or PAGE_SIZE, LARGEST_FULL_PAGE if full else LARGEST_BASIC_PAGE
        )
        with self._changed:
            matching = [
                execution
                for name, execution in self._shelf.known.items()
                if name.startswith(prefix) and wanted(execution)
            ]
            chosen, token = page(ordered(matching, request.order_by), size, request.page_token)
            found = [self._seen(execution) for execution in chosen]
        return executions_v1.ListExecutionsResponse(
            executions=found if full else [basic_view(each) for each in found],
            next_page_token=token,
        )

    def cancel_execution(
        self, request: executions_v1.CancelExecutionRequest
    ) -> executions_v1.Execution:
        """Cancel an Execution; it takes no further step.

        Raises:
            NotFound: there is none of this name.
            FailedPrecondition: it has ended.
        """
        with self._changed:
            execution = self._known(request.name)
            if execution.state not in _RUNNING:
                raise exceptions.FailedPrecondition(
                    f"Execution {request.name} has already ended as {execution.state.name}"
                )
            live = self._shelf.live[request.name]
            self._end(execution, executions_v1.Execution(state=State.CANCELLED))
            cancelled = self._seen(execution)
        live.cancellation.cancel()
        return cancelled

    # the embedded cloud's own

    def wait(self, name: str, timeout_seconds: float) -> executions_v1.Execution:
        """Return an Execution once it has ended, or as it is after the timeout.

        Raises:
            NotFound: there is none of this name.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._known(name).state not in _RUNNING, timeout_seconds)
            return self._seen(self._known(name))

    def callback_handler(self) -> Handler:
        """Return the HTTP handler to mount at `callbacks.MOUNT`."""
        return self._callback

    def stop(self) -> None:
        """Stop every Execution without ending it: after a restart they count as failed."""
        with self._changed:
            self._stopping = True
            running, threads = list(self._shelf.live.values()), set(self._threads)
        for live in running:
            live.cancellation.cancel()
        with self._changed:
            self._changed.wait_for(lambda: not self._threads, _STOP_SECONDS)
            ending = threads - self._threads
        for thread in ending:
            thread.join()

    def _callback(self, request: Request) -> Response:
        name, _, callback = request.path.removeprefix(f"{MOUNT}/v1/").partition("/callbacks/")
        with self._changed:
            live = self._shelf.live.get(name)
        if live is None:
            return json_response(404, {"error": {"code": 404, "message": "callback not found"}})
        return live.callbacks.deliver(callback, request)

    def _load(self) -> None:
        loaded = [from_record(record) for record in self._archive.load()]
        with self._changed:
            for execution in sorted(loaded, key=started):
                self._shelf.known[execution.name] = execution
                if execution.state in _RUNNING:
                    self._end(execution, _failed(failure("SystemError", "local cloud restarted")))

    def _known(self, name: str) -> executions_v1.Execution:
        execution = self._shelf.known.get(name)
        if execution is None:
            raise exceptions.NotFound(f"Execution '{name}' was not found")
        return execution

    def _seen(self, execution: executions_v1.Execution) -> executions_v1.Execution:
        """Return a copy as clients see it now, with the steps that are running."""
        seen = copied(execution)
        live = self._shelf.live.get(execution.name)
        if live is not None:
            steps = [{"routine": r, "step": s} for r, s in live.run.current_steps()]
            seen.status = executions_v1.Execution.Status(current_steps=steps)
            seen.duration = since(execution.start_time, self._clock.now())
        return seen

    def _prepare(self, name: str, definition: workflows_v1.Workflow, argument: Value) -> _Live:
        cancellation = Cancellation()
        callbacks = ExecutionCallbacks(name, self._rest_root, self._clock)
        runtime = Runtime(
            clock=self._clock,
            http=self._http,
            environment=environment(name, definition),
            log=_Log(self._data / name / "log.jsonl", self._clock),
            callbacks=callbacks,
            cancellation=cancellation,
        )
        run = Run(parse_workflow(definition.source_contents), runtime)
        return _Live(run, argument, callbacks, cancellation)

    def _admit(self) -> None:
        """Start queued Executions while there is room; the lock is held."""
        while self._shelf.queue and not self._stopping and self._active() < self._max_active:
            name = self._shelf.queue[0]
            thread = threading.Thread(
                target=self._execute,
                args=(name, self._shelf.live[name]),
                name="execution",
                daemon=True,
            )
            thread.start()
            self._threads.add(thread)
            self._shelf.queue.pop(0)
            self._shelf.known[name].state = State.ACTIVE

    def _active(self) -> int:
        return len(self._shelf.live) - len(self._shelf.queue)

    def _execute(self, name: str, live: _Live) -> None:
        try:
            self._finish(name, _ended(name, live))
        except Cancelled:
            return  # who cancelled has recorded the end
        finally:
            with self._changed:
                self._threads.discard(threading.current_thread())
                self._changed.notify_all()

    def _finish(self, name: str, ended: executions_v1.Execution) -> None:
        with self._changed:
            execution = self._shelf.known.get(name)
            if execution is None or execution.state not in _RUNNING or self._stopping:
                return
            self._end(execution, ended)

    def _end(self, execution: executions_v1.Execution, ended: executions_v1.Execution) -> None:
        """Record the end of an Execution, its state with result or error; the lock is held."""
        now = self._clock.now()
        plain(execution).MergeFrom(plain(ended))
        execution.end_time = timestamp(now)
        execution.duration = since(execution.start_time, now)
        self._shelf.live.pop(execution.name, None)
        if execution.name in self._shelf.queue:
            self._shelf.queue.remove(execution.name)
        self._changed.notify_all()
        self._admit()
        self._save(execution)

    def _forget(self, workflow: str) -> None:
        prefix = f"{workflow}/executions/"
        with self._changed:
            names = [name for name in self._shelf.known if name.startswith(prefix)]
            running = [self._shelf.live.pop(name) for name in names if name in self._shelf.live]
            self._shelf.queue = [name for name in self._shelf.queue if name not in names]
            for name in names:
                del self._shelf.known[name]
            self._changed.notify_all()
        for live in running:
            live.cancellation.cancel()

    def _save(self, execution: executions_v1.Execution) -> None:
        self._archive.put(execution.name, json_format.MessageToDict(plain(execution)))


def _ended(name: str, live: _Live) -> executions_v1.Execution:
    """Run an Execution to its end; return the state and the result or error that it ends with.

    Raises:
        Cancelled: it was cancelled.
    """
    try:
        result = to_json(live.run.execute(live.argument))
        return executions_v1.Execution(state=State.SUCCEEDED, result=result)
    except Cancelled:
        raise
    except WorkflowFailure as error:
        return _failed(error)
    except Exception as error:  # noqa: BLE001  # outermost loop of an Execution
        _LOG.exception("%s failed", name)
        return _failed(failure("SystemError", f"internal error: {error!r}"))


def _failed(error: WorkflowFailure) -> executions_v1.Execution:
    return executions_v1.Execution(state=State.FAILED, error=error_of(error))


class _Log:
    """Takes what `sys.log` writes, as lines of JSON in a file of the Execution."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(self, severity: str, data: Value) -> None:
        entry = {
            "severity": severity,
            "timestamp": self._clock.now().isoformat(),
            "jsonPayload" if isinstance(data, dict) else "textPayload": data,
        }
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False, default=repr) + "\n")
