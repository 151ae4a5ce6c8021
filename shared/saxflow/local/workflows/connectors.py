"""Connectors: `googleapis.*` calls as one table over REST, with waiting where the service waits.

A connector's result is the decoded body. GETs are repeated by `http.default_retry`'s rule, all
others only when the server cannot have acted.

Source: https://cloud.google.com/workflows/docs/reference/googleapis
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from saxflow.local.workflows.failures import Value, WorkflowFailure, failure
from saxflow.local.workflows.http import read_request
from saxflow.local.workflows.runtime import Runtime
from saxflow.local.workflows.stdlib.policies import (
    DEFAULT_BACKOFF,
    DEFAULT_MAX_RETRIES,
    delays,
    number_of,
    retry_idempotent,
    retry_non_idempotent,
)
from saxflow.local.workflows.stdlib.signature import Signature, expect
from saxflow.local.workflows.values import from_json, to_json

DEFAULT_TIMEOUT_SECONDS = 1800

_BATCH = "https://batch.googleapis.com"
_EXECUTIONS = "https://workflowexecutions.googleapis.com"
_PUBSUB = "https://pubsub.googleapis.com"
_STORAGE = "https://storage.googleapis.com"

Arguments = Mapping[str, Value]


@dataclass(frozen=True)
class Poll:
    """How a connector waits for what it has started.

    Args:
        root: of the API; the answer's `name` follows it.
        failed: states that raise OperationError; any other state listed in `done` ends the wait.
    """

    root: str
    done: frozenset[str]
    failed: frozenset[str]


@dataclass(frozen=True)
class Connector:
    """One method of an API.

    Args:
        path: with `{name}` for each path parameter; their values are inserted as they are.
        query: names of query parameters.
        body: whether it takes a body.
        media_path: path used for `uploadType: media`.
        implied: path parameters that the environment fills in when they are not given.
    """

    verb: str
    root: str
    path: str
    query: tuple[str, ...] = ()
    body: bool = False
    poll: Poll | None = None
    media_path: str | None = None
    implied: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path parameters."""
        return tuple(part.partition("}")[0] for part in self.path.split("{")[1:])

    @property
    def signature(self) -> Signature:
        """What it takes."""
        body = ("body",) if self.body else ()
        required = tuple(name for name in self.parameters if name not in self.implied)
        return Signature(required, (*self.implied, *self.query, *body, "connector_params"))


def _batch(verb: str, path: str, *query: str, **more: Value) -> Connector:
    return Connector(verb, _BATCH, f"/v1/{path}", query, **more)


_PAGES = ("filter", "orderBy", "pageSize", "pageToken")
_CONDITIONS = (
    "generation",
    "ifGenerationMatch",
    "ifGenerationNotMatch",
    "ifMetagenerationMatch",
    "ifMetagenerationNotMatch",
)
_JOB_POLL = Poll(
    f"{_BATCH}/v1/",
    frozenset({"SUCCEEDED", "FAILED", "CANCELLED"}),
    frozenset({"FAILED", "CANCELLED"}),
)
_EXECUTION_POLL = Poll(
    f"{_EXECUTIONS}/v1/",
    frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "UNAVAILABLE"}),
    frozenset({"FAILED", "CANCELLED", "UNAVAILABLE"}),
)
_OBJECT = "/storage/v1/b/{bucket}/o/{object}"
_OBJECTS = "/storage/v1/b/{bucket}/o"
_RUN_PATH = "/v1/projects/{project_id}/locations/{location}/workflows/{workflow_id}/executions"
_RUN = Connector(
    "POST",
    _EXECUTIONS,
    _RUN_PATH,
    ("argument",),
    poll=_EXECUTION_POLL,
    implied=("project_id", "location"),
)

CONNECTORS: dict[str, Connector] = {
    f"googleapis.{name}": connector
    for name, connector in {
        "batch.v1.projects.locations.jobs.create": _batch(
            "POST", "{parent}/jobs", "jobId", "requestId", body=True, poll=_JOB_POLL
        ),
        "batch.v1.projects.locations.jobs.get": _batch("GET", "{name}"),
        "batch.v1.projects.locations.jobs.delete": _batch(
            "DELETE", "{name}", "reason", "requestId"
        ),
        "batch.v1.projects.locations.jobs.list": _batch("GET", "{parent}/jobs", *_PAGES),
        "batch.v1.projects.locations.jobs.taskGroups.tasks.get": _batch("GET", "{name}"),
        "batch.v1.projects.locations.jobs.taskGroups.tasks.list": _batch(
            "GET", "{parent}/tasks", *_PAGES
        ),
        "pubsub.v1.projects.topics.publish": Connector(
            "POST", _PUBSUB, "/v1/{topic}:publish", body=True
        ),
        "storage.v1.objects.get": Connector(
            "GET", _STORAGE, _OBJECT, ("alt", "projection", *_CONDITIONS)
        ),
        "storage.v1.objects.delete": Connector("DELETE", _STORAGE, _OBJECT, _CONDITIONS),
        "storage.v1.objects.list": Connector(
            "GET",
            _STORAGE,
            _OBJECTS,
            ("prefix", "delimiter", "startOffset", "endOffset", "maxResults", "pageToken"),
        ),
        "storage.v1.objects.insert": Connector(
            "POST",
            _STORAGE,
            _OBJECTS,
            ("name", "uploadType", "contentEncoding", *_CONDITIONS),
            body=True,
            media_path="/upload/storage/v1/b/{bucket}/o",
        ),
        "workflowexecutions.v1.projects.locations.workflows.executions.run": _RUN,
        "workflowexecutions.v1.projects.locations.workflows.executions.get": Connector(
            "GET", _EXECUTIONS, "/v1/{name}", ("view",)
        ),
        "workflowexecutions.v1.projects.locations.workflows.executions.create": Connector(
            "POST", _EXECUTIONS, "/v1/{parent}/executions", body=True
        ),
        "workflowexecutions.v1.projects.locations.workflows.executions.cancel": Connector(
            "POST", _EXECUTIONS, "/v1/{name}:cancel", body=True
        ),
    }.items()
}


def run_connector(connector: Connector) -> Callable[[Runtime, Arguments], Value]:
    """Return the function that a `call` step of this connector runs."""

    def apply(runtime: Runtime, arguments: Arguments) -> Value:
        options = expect(arguments.get("connector_params", {}), dict, "connector_params")
        call = _run_arguments(runtime, arguments) if connector is _RUN else dict(arguments)
        body = _send(runtime, connector.verb, *_target(connector, call))
        if connector.poll is None or options.get("skip_polling") is True:
            return body
        final = _wait(runtime, connector.poll, body, options)
        return from_json(final.get("result", "null")) if connector is _RUN else final

    return apply


def _run_arguments(runtime: Runtime, arguments: Arguments) -> dict[str, Value]:
    environment = runtime.environment
    argument = arguments.get("argument")
    body = {} if argument is None else {"argument": to_json(argument)}
    return {
        "project_id": environment.get("GOOGLE_CLOUD_PROJECT_ID", ""),
        "location": environment.get("GOOGLE_CLOUD_LOCATION", ""),
        **{name: value for name, value in arguments.items() if name != "argument"},
        "body": body,
    }


def _target(connector: Connector, arguments: Arguments) -> tuple[str, dict[str, Value]]:
    """Return the URL and the arguments of the underlying `http.*` call."""
    values = {name: expect(arguments[name], str, name) for name in connector.parameters}
    media = connector.media_path is not None and arguments.get("uploadType") == "media"
    path = connector.media_path if media and connector.media_path else connector.path
    query = {name: arguments[name] for name in connector.query if name in arguments}
    call: dict[str, Value] = {"query": query, "auth": {"type": "OAuth2"}}
    if arguments.get("body") is not None:
        call["body"] = arguments["body"]
        if media and isinstance(arguments["body"], str):
            call["headers"] = {"Content-Type": "text/plain; charset=utf-8"}
    return connector.root + path.format_map(values), call


def _send(runtime: Runtime, verb: str, url: str, arguments: Arguments) -> Value:
    request = read_request(verb, {"url": url, **arguments})
    repeatable = retry_idempotent if verb == "GET" else retry_non_idempotent
    for delay in islice(delays(DEFAULT_BACKOFF), DEFAULT_MAX_RETRIES):
        try:
            return runtime.http.send(request, runtime.cancellation)["body"]
        except WorkflowFailure as error:
            if not repeatable(error.payload):
                raise
        runtime.sleep(delay)
    return runtime.http.send(request, runtime.cancellation)["body"]


def _wait(runtime: Runtime, poll: Poll, started: Value, options: Arguments) -> dict[str, Value]:
    pauses = delays(expect(options.get("polling_policy", {}), dict, "polling_policy"))
    limit = number_of(options, "timeout", DEFAULT_TIMEOUT_SECONDS)
    deadline = runtime.clock.time() + limit
    current = expect(started, dict, "answer")
    name = expect(current.get("name"), str, "answer.name")
    while _state(current) not in poll.done:
        left = deadline - runtime.clock.time()
        if left <= 0:
            raise failure("TimeoutError", f"{name} did not end within {limit:g} s; it still runs")
        runtime.sleep(min(next(pauses), left))
        answer = _send(runtime, "GET", poll.root + name, {"auth": {"type": "OAuth2"}})
        current = expect(answer, dict, "answer")
    if _state(current) in poll.failed:
        detail = current.get("error", current.get("status", {}))
        raise failure("OperationError", f"{name} ended {_state(current)}", error=detail)
    return current


def _state(resource: dict[str, Value]) -> Value:
    status = resource.get("status")
    nested = status.get("state") if isinstance(status, dict) else None
    return nested or resource.get("state")
