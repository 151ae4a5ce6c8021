"""Workflows and their revisions through the service's own methods; kept on disk, checked on entry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.cloud import workflows_v1
from google.longrunning import operations_pb2

from saxflow.local.clock import VirtualClock
from saxflow.local.rpc.operations import Operations
from saxflow.local.workflows.definitions import (
    ENVIRONMENT_LIMIT,
    ENVIRONMENT_VALUE_BYTES,
    REVISION_LIMIT,
    WorkflowsService,
)

PARENT = "projects/p/locations/l"
SOURCE = "main:\n  steps:\n  - out:\n      return: 1\n"


@pytest.fixture
def service(tmp_path: Path, clock: VirtualClock) -> WorkflowsService:
    return WorkflowsService(tmp_path, clock, Operations())


def workflow(name: str = "w", **fields: object) -> workflows_v1.Workflow:
    content = {"source_contents": SOURCE, **fields}
    return workflows_v1.Workflow(name=f"{PARENT}/workflows/{name}", **content)


def create(
    service: WorkflowsService, name: str = "w", **fields: object
) -> operations_pb2.Operation:
    request = workflows_v1.CreateWorkflowRequest(
        parent=PARENT, workflow_id=name, workflow=workflow(name, **fields)
    )
    return service.create_workflow(request)


def update(service: WorkflowsService, paths: list[str], **fields: object) -> workflows_v1.Workflow:
    service.update_workflow(
        workflows_v1.UpdateWorkflowRequest(
            workflow=workflow(**fields), update_mask={"paths": paths}
        )
    )
    return service.current(f"{PARENT}/workflows/w")


def test_a_created_workflow_is_active_at_once(
    service: WorkflowsService, clock: VirtualClock
) -> None:
    operation = create(service, user_env_vars={"A": "1"})
    assert operation.done
    found = service.current(f"{PARENT}/workflows/w")
    assert found.state.name == "ACTIVE"
    assert found.revision_id.startswith("000001-")
    assert dict(found.user_env_vars) == {"A": "1"}
    assert found.create_time == found.update_time == found.revision_create_time
    assert found.create_time.timestamp() == clock.time()


def test_a_name_is_taken_once(service: WorkflowsService) -> None:
    create(service)
    with pytest.raises(exceptions.AlreadyExists, match="workflows/w"):
        create(service)


@pytest.mark.parametrize("name", ["", "1w", "w-", "w" * 65, "a b"])
def test_ids_follow_the_rule(service: WorkflowsService, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="must start with a letter"):
        create(service, name)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source_contents": "main: ["}, "failed to build"),
        ({"source_contents": SOURCE.replace("1", "${none}")}, "none"),
        ({"user_env_vars": {f"V{n}": "" for n in range(ENVIRONMENT_LIMIT + 1)}}, "21 variables"),
        ({"user_env_vars": {"GOOGLE_X": "1"}}, "'GOOGLE_X' is empty or reserved"),
        ({"user_env_vars": {"": "1"}}, "'' is empty or reserved"),
        ({"user_env_vars": {"A": "é" * (ENVIRONMENT_VALUE_BYTES // 2 + 1)}}, "'A' is longer"),
    ],
)
def test_what_would_not_deploy_is_refused(
    service: WorkflowsService, fields: dict[str, object], said: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        create(service, **fields)
    with pytest.raises(exceptions.NotFound):
        service.current(f"{PARENT}/workflows/w")


def test_an_update_replaces_what_its_mask_names(service: WorkflowsService) -> None:
    create(service, description="old", user_env_vars={"A": "1"})
    found = update(service, ["user_env_vars"], description="new", user_env_vars={"B": "2"})
    assert dict(found.user_env_vars) == {"B": "2"}
    assert found.description == "old"
    assert found.revision_id.startswith("000002-")


def test_an_update_without_mask_replaces_all(service: WorkflowsService) -> None:
    create(service, description="old", user_env_vars={"A": "1"})
    found = update(service, [], source_contents=SOURCE.replace("1", "2"))
    assert (found.description, dict(found.user_env_vars)) == ("", {})
    assert "return: 2" in found.source_contents


def test_a_bad_update_leaves_the_revision(service: WorkflowsService) -> None:
    create(service)
    with pytest.raises(exceptions.InvalidArgument, match="'name' cannot be updated"):
        update(service, ["name"])
    with pytest.raises(exceptions.InvalidArgument, match="failed to build"):
        update(service, ["source_contents"], source_contents="main: 5")
    assert service.current(f"{PARENT}/workflows/w").revision_id.startswith("000001-")


def test_revisions_are_kept_the_newest_first(service: WorkflowsService) -> None:
    create(service)
    update(service, ["description"], description="second")
    request = workflows_v1.ListWorkflowRevisionsRequest(name=f"{PARENT}/workflows/w", page_size=1)
    newest = service.list_workflow_revisions(request)
    request.page_token = newest.next_page_token
    oldest = service.list_workflow_revisions(request)
    assert [w.description for w in (*newest.workflows, *oldest.workflows)] == ["second", ""]
    first = oldest.workflows[0]
    get = workflows_v1.GetWorkflowRequest(name=first.name, revision_id=first.revision_id)
    assert service.get_workflow(get) == first
    get.revision_id = "000009-abc"
    with pytest.raises(exceptions.NotFound, match="@000009-abc"):
        service.get_workflow(get)


def test_workflows_are_listed_by_name(service: WorkflowsService) -> None:
    for name in ("b", "a"):
        create(service, name)
    listed = service.list_workflows(workflows_v1.ListWorkflowsRequest(parent=PARENT))
    assert [w.name.rsplit("/", 1)[1] for w in listed.workflows] == ["a", "b"]
    other = workflows_v1.ListWorkflowsRequest(parent="projects/q/locations/l")
    assert list(service.list_workflows(other).workflows) == []
    with pytest.raises(exceptions.MethodNotImplemented, match="without filter"):
        service.list_workflows(workflows_v1.ListWorkflowsRequest(parent=PARENT, filter="x"))


def test_a_deleted_workflow_is_gone_and_its_executions_told(service: WorkflowsService) -> None:
    create(service)
    told: list[str] = []
    service.on_delete.append(told.append)
    request = workflows_v1.DeleteWorkflowRequest(name=f"{PARENT}/workflows/w")
    assert service.delete_workflow(request).done
    assert told == [f"{PARENT}/workflows/w"]
    with pytest.raises(exceptions.NotFound):
        service.delete_workflow(request)


def test_revisions_survive_the_process(
    service: WorkflowsService, tmp_path: Path, clock: VirtualClock
) -> None:
    create(service, user_env_vars={"A": "1"})
    expected = update(service, ["description"], description="second")
    create(service, "gone")
    service.delete_workflow(workflows_v1.DeleteWorkflowRequest(name=f"{PARENT}/workflows/gone"))
    again = WorkflowsService(tmp_path, clock, Operations())
    assert again.current(f"{PARENT}/workflows/w") == expected
    with pytest.raises(exceptions.NotFound):
        again.current(f"{PARENT}/workflows/gone")


def test_callers_cannot_change_what_is_stored(service: WorkflowsService) -> None:
    create(service)
    service.current(f"{PARENT}/workflows/w").description = "mine"
    assert service.current(f"{PARENT}/workflows/w").description == ""


def test_an_update_that_changes_nothing_makes_no_revision(service: WorkflowsService) -> None:
    create(service, user_env_vars={"A": "1"})
    before = service.current(f"{PARENT}/workflows/w")
    assert update(service, [], user_env_vars={"A": "1"}) == before


def test_only_the_latest_revisions_are_kept(
    service: WorkflowsService, tmp_path: Path, clock: VirtualClock
) -> None:
    create(service)
    for number in range(REVISION_LIMIT):
        update(service, ["description"], description=str(number))
    again = WorkflowsService(tmp_path, clock, Operations())
    listed = again.list_workflow_revisions(
        workflows_v1.ListWorkflowRevisionsRequest(name=f"{PARENT}/workflows/w")
    )
    ordinals = [int(each.revision_id.partition("-")[0]) for each in listed.workflows]
    assert ordinals == list(range(REVISION_LIMIT + 1, 1, -1))


def test_a_name_is_free_only_when_nothing_is_left_of_it(
    service: WorkflowsService, tmp_path: Path, clock: VirtualClock
) -> None:
    create(service)
    with ThreadPoolExecutor(1) as pool:
        again = []

        def create_again(_: str) -> None:
            again.append(pool.submit(create, service))
            wait(again, 0.2)

        service.on_delete.append(create_again)
        service.delete_workflow(workflows_v1.DeleteWorkflowRequest(name=f"{PARENT}/workflows/w"))
        assert again[0].result().done
    kept = WorkflowsService(tmp_path, clock, Operations())
    assert kept.current(f"{PARENT}/workflows/w") == service.current(f"{PARENT}/workflows/w")
