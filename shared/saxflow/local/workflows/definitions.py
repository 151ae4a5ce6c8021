"""WorkflowsService: definitions of workflows and their revisions, as Google's client knows them.

Source: google/cloud/workflows/v1/workflows.proto
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.api_core import exceptions
from google.cloud import workflows_v1
from google.longrunning import operations_pb2
from google.protobuf import field_mask_pb2, json_format

from saxflow.errors import Problem
from saxflow.local.clock import Clock
from saxflow.local.messages import copied, timestamp
from saxflow.local.paging import page
from saxflow.local.rpc.operations import Operations, plain
from saxflow.local.workflows.archive import Archive
from saxflow.local.workflows.document import SourceError
from saxflow.local.workflows.lint import check_references
from saxflow.local.workflows.parser import parse_workflow

ENVIRONMENT_LIMIT = 20
ENVIRONMENT_VALUE_BYTES = 4096
REVISION_LIMIT = 100

_ID = re.compile(r"[a-zA-Z]([a-zA-Z0-9_-]{0,62}[a-zA-Z0-9])?")
_RESERVED_VARIABLES = ("GOOGLE", "WORKFLOWS")
_MUTABLE = frozenset(
    {
        "description",
        "labels",
        "service_account",
        "source_contents",
        "crypto_key_name",
        "call_log_level",
        "user_env_vars",
        "execution_history_level",
        "tags",
    }
)


class WorkflowsService:
    """The workflows of one embedded cloud.

    Args:
        data: directory where definitions are kept.
        clock: time of revisions.
        operations: where create, update and delete report; all are done at once.

    Attributes:
        on_delete: called with the name of a workflow that is being deleted, while it is held.
    """

    def __init__(self, data: Path, clock: Clock, operations: Operations) -> None:
        self._clock = clock
        self._operations = operations
        self._archive = Archive(data, "workflow.json")
        self._lock = threading.Lock()
        self._revisions: dict[str, list[workflows_v1.Workflow]] = {}
        self.on_delete: list[Callable[[str], None]] = []
        for record in self._archive.load():
            revisions = [_from_json(item) for item in record["revisions"]]
            self._revisions[revisions[-1].name] = revisions

    def current(self, name: str) -> workflows_v1.Workflow:
        """Return the latest revision of a workflow.

        Raises:
            NotFound: there is none of this name.
        """
        with self.holding(name) as workflow:
            return workflow

    @contextmanager
    def holding(self, name: str) -> Generator[workflows_v1.Workflow]:
        """Yield the latest revision of a workflow; nobody deletes or changes it meanwhile.

        Raises:
            NotFound: there is none of this name.
        """
        with self._lock:
            yield copied(self._known(name)[-1])

    def create_workflow(
        self, request: workflows_v1.CreateWorkflowRequest
    ) -> operations_pb2.Operation:
        """Create a workflow.

        Raises:
            AlreadyExists: the name is taken.
            InvalidArgument: a bad id, or a source that would not deploy.
        """
        if not _ID.fullmatch(request.workflow_id):
            raise exceptions.InvalidArgument(
                f"workflow_id {request.workflow_id!r} must start with a letter, end with a letter or"
                " digit, and have up to 64 letters, digits, underscores and hyphens"
            )
        workflow = copied(request.workflow)
        workflow.name = f"{request.parent}/workflows/{request.workflow_id}"
        _validate(workflow)
        with self._lock:
            if workflow.name in self._revisions:
                raise exceptions.AlreadyExists(f"Resource '{workflow.name}' already exists")
            workflow.create_time = timestamp(self._clock.now())
            self._revise(workflow, [])
        return self._done(request.parent, workflow.name, "create", workflow)

    def update_workflow(
        self, request: workflows_v1.UpdateWorkflowRequest
    ) -> operations_pb2.Operation:
        """Replace fields of a workflow; a new revision comes of it when that changes anything.

        Raises:
            NotFound: there is none of this name.
            InvalidArgument: an unknown field, or a source that would not deploy.
        """
        name = request.workflow.name
        paths = list(request.update_mask.paths) or sorted(_MUTABLE)
        unknown = [path for path in paths if path not in _MUTABLE]
        if unknown:
            raise exceptions.InvalidArgument(f"update_mask: {unknown[0]!r} cannot be updated")
        with self.holding(name) as workflow:
            mask = field_mask_pb2.FieldMask(paths=paths)
            mask.MergeMessage(plain(request.workflow), plain(workflow), True, True)
            if workflow != self._revisions[name][-1]:
                _validate(workflow)
                self._revise(workflow, self._revisions[name])
        return self._done(name.partition("/workflows/")[0], name, "update", workflow)

    def get_workflow(self, request: workflows_v1.GetWorkflowRequest) -> workflows_v1.Workflow:
        """Return a workflow, at a revision when one is named.

        Raises:
            NotFound: no such workflow or revision.
        """
        with self._lock:
            for workflow in reversed(self._known(request.name)):
                if request.revision_id in ("", workflow.revision_id):
                    return copied(workflow)
        raise exceptions.NotFound(f"Resource '{request.name}@{request.revision_id}' was not found")

    def list_workflows(
        self, request: workflows_v1.ListWorkflowsRequest
    ) -> workflows_v1.ListWorkflowsResponse:
        """Return the workflows of a location in the order of their names.

        Raises:
            MethodNotImplemented: a filter or an order was asked for.
        """
        if request.filter or request.order_by:
            raise exceptions.MethodNotImplemented(
                "the embedded Workflows lists without filter and order; choose from the whole list"
            )
        prefix = f"{request.parent}/workflows/"
        with self._lock:
            names = sorted(name for name in self._revisions if name.startswith(prefix))
            latest = [copied(self._revisions[name][-1]) for name in names]
        workflows, token = page(latest, request.page_size, request.page_token)
        return workflows_v1.ListWorkflowsResponse(workflows=workflows, next_page_token=token)

    def list_workflow_revisions(
        self, request: workflows_v1.ListWorkflowRevisionsRequest
    ) -> workflows_v1.ListWorkflowRevisionsResponse:
        """Return the revisions of a workflow, the newest first.

        Raises:
            NotFound: there is none of this name.
        """
        with self._lock:
            revisions = [copied(each) for each in reversed(self._known(request.name))]
        workflows, token = page(revisions, request.page_size, request.page_token)
        return workflows_v1.ListWorkflowRevisionsResponse(
            workflows=workflows, next_page_token=token
        )

    def delete_workflow(
        self, request: workflows_v1.DeleteWorkflowRequest
    ) -> operations_pb2.Operation:
        """Delete a workflow; its Executions are cancelled and deleted with it.

        Raises:
            NotFound: there is none of this name.
        """
        with self.holding(request.name):
            for forget in self.on_delete:
                forget(request.name)
            self._archive.remove(request.name)
            del self._revisions[request.name]
        return self._done(request.name.partition("/workflows/")[0], request.name, "delete", None)

    def _known(self, name: str) -> list[workflows_v1.Workflow]:
        if name not in self._revisions:
            raise exceptions.NotFound(f"Resource '{name}' was not found")
        return self._revisions[name]

    def _revise(
        self, workflow: workflows_v1.Workflow, earlier: list[workflows_v1.Workflow]
    ) -> None:
        now = timestamp(self._clock.now())
        ordinal = int(earlier[-1].revision_id.partition("-")[0]) + 1 if earlier else 1
        workflow.revision_id = f"{ordinal:06d}-{uuid.uuid4().hex[:3]}"
        workflow.update_time = workflow.revision_create_time = now
        workflow.state = workflows_v1.Workflow.State.ACTIVE
        revisions = [*earlier, copied(workflow)][-REVISION_LIMIT:]
        record = {"revisions": [json_format.MessageToDict(plain(each)) for each in revisions]}
        self._archive.put(workflow.name, record)
        self._revisions[workflow.name] = revisions

    def _done(
        self, parent: str, target: str, verb: str, workflow: workflows_v1.Workflow | None
    ) -> operations_pb2.Operation:
        now = timestamp(self._clock.now())
        metadata = workflows_v1.OperationMetadata(
            create_time=now, end_time=now, target=target, verb=verb, api_version="v1"
        )
        return self._operations.done(parent, workflow, metadata)


def _from_json(record: dict[str, Any]) -> workflows_v1.Workflow:
    workflow = workflows_v1.Workflow()
    json_format.ParseDict(record, plain(workflow))
    return workflow


def _validate(workflow: workflows_v1.Workflow) -> None:
    """Refuse what a deployment refuses.

    Raises:
        InvalidArgument: naming every problem of the source, or the first of a variable.
    """
    try:
        problems: list[Problem] = check_references(parse_workflow(workflow.source_contents))
    except SourceError as error:
        problems = list(error.problems)
    if problems:
        listing = "\n".join(str(problem) for problem in problems)
        raise exceptions.InvalidArgument(f"failed to build:\n{listing}")
    variables = workflow.user_env_vars
    if len(variables) > ENVIRONMENT_LIMIT:
        raise exceptions.InvalidArgument(
            f"user_env_vars: {len(variables)} variables; at most {ENVIRONMENT_LIMIT} are allowed"
        )
    for key, value in variables.items():
        if not key or key.startswith(_RESERVED_VARIABLES):
            raise exceptions.InvalidArgument(
                f"user_env_vars: {key!r} is empty or reserved; choose a name that does not begin"
                f" with {' or '.join(_RESERVED_VARIABLES)}"
            )
        if len(value.encode()) > ENVIRONMENT_VALUE_BYTES:
            raise exceptions.InvalidArgument(
                f"user_env_vars: {key!r} is longer than {ENVIRONMENT_VALUE_BYTES} bytes"
            )
