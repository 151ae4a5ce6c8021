"""Start Executions, at most one that matters.

The Executions API has neither a request id nor a client-chosen name, so a repeated create starts a
second Execution. A claim object says which one was started; a crash between create and claim, or
two deliveries at once, may still start two, and then the lease in the head lets only one act.

Source: facts on Workflow Executions (CreateExecutionRequest has parent and execution only).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from saxflow import names
from saxflow.errors import CloudError, NotFoundError
from saxflow.gcp.objects import Uri
from saxflow.gcp.translate import translated
from saxflow.pipeline.plans import PlanReference
from saxflow.pipeline.services import Services

if TYPE_CHECKING:
    from google.cloud.workflows import executions_v1

CREATE_TIMEOUT_SECONDS = 30.0
_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


def ensure_deploy(services: Services, reference: PlanReference) -> str:
    """Start the deploy Execution of an attempt unless one was started; return its name."""
    claimed = claimed_execution(services, reference)
    if claimed:
        return claimed
    return start_deploy(services, reference)


def start_deploy(services: Services, reference: PlanReference) -> str:
    """Start a deploy Execution of an attempt and claim it."""
    execution = _create(
        services, services.settings.deploy_workflow, reference, reference.argument()
    )
    claim = json.dumps({"execution": execution}).encode()
    services.objects.write(_claim_uri(services, reference), claim, if_generation=None)
    return execution


def start_teardown(services: Services, reference: PlanReference, reason: str) -> str:
    """Start a teardown Execution; several of them do no harm."""
    workflow = services.settings.teardown_workflow
    return _create(services, workflow, reference, reference.argument(reason=reason))


def claimed_execution(services: Services, reference: PlanReference) -> str | None:
    """Return the name of the Execution that was started for an attempt, None when none was."""
    try:
        claim, _ = services.objects.read_json(_claim_uri(services, reference))
    except NotFoundError:
        return None
    return str(claim["execution"])


def is_running(services: Services, execution: str) -> bool:
    """Return whether an Execution has not ended."""
    try:
        with translated("executions", f"get {execution}"):
            found = services.executions.get_execution(
                name=execution, timeout=CREATE_TIMEOUT_SECONDS
            )
    except CloudError as error:
        if error.code == 404:
            return False
        raise
    return found.state.name not in _ENDED


def _create(services: Services, workflow: str, reference: PlanReference, argument: str) -> str:
    from google.cloud.workflows import executions_v1

    execution = executions_v1.Execution(
        argument=argument,
        labels={
            "deployment": reference.name,
            "generation": reference.generation,
            "attempt": str(reference.attempt),
        },
    )
    parent = services.settings.workflow_path(workflow)
    with translated("executions", f"start {workflow} for {reference.name}"):
        created: executions_v1.Execution = services.executions.create_execution(
            parent=parent, execution=execution, timeout=CREATE_TIMEOUT_SECONDS
        )
    return created.name


def _claim_uri(services: Services, reference: PlanReference) -> Uri:
    prefix = names.plan_prefix(reference.name, reference.generation)
    return Uri(services.settings.control_bucket, f"{prefix}execution-a{reference.attempt}.json")
