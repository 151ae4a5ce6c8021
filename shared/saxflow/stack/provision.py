"""Create what an installation needs, with Google's own clients; what exists is brought up to date."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, contextmanager

from saxflow.errors import CloudError
from saxflow.gcp import clients
from saxflow.gcp.translate import translated
from saxflow.settings import Endpoints

CALL_TIMEOUT_SECONDS = 30


def ensure_buckets(
    endpoints: Endpoints, project: str, buckets: Iterable[str], location: str
) -> None:
    """Create the buckets that do not exist."""
    with closing(clients.storage_client(project, endpoints)) as client:
        for bucket in buckets:
            with _existing_is_fine(), translated("storage", f"create bucket {bucket}"):
                client.create_bucket(bucket, location=location, timeout=CALL_TIMEOUT_SECONDS)


def ensure_topic(endpoints: Endpoints, project: str, topic: str) -> None:
    """Create the events topic unless it exists."""
    name = f"projects/{project}/topics/{topic}"
    with (
        clients.publisher_client(endpoints) as client,
        _existing_is_fine(),
        translated("pubsub", f"create {name}"),
    ):
        client.create_topic(request={"name": name}, timeout=CALL_TIMEOUT_SECONDS)


def ensure_workflow(
    endpoints: Endpoints, parent: str, workflow: str, source: str, variables: Mapping[str, str]
) -> None:
    """Deploy a Workflow: create it, or give it this source and these variables."""
    from google.cloud import workflows_v1

    name = f"{parent}/workflows/{workflow}"
    body = workflows_v1.Workflow(name=name, source_contents=source, user_env_vars=dict(variables))
    with clients.workflows_client(endpoints) as client:
        try:
            with translated("workflows", f"create {name}"):
                client.create_workflow(
                    parent=parent, workflow=body, workflow_id=workflow, timeout=CALL_TIMEOUT_SECONDS
                ).result(timeout=CALL_TIMEOUT_SECONDS)
        except CloudError as error:
            if error.code != 409:
                raise
            with translated("workflows", f"update {name}"):
                client.update_workflow(workflow=body, timeout=CALL_TIMEOUT_SECONDS).result(
                    timeout=CALL_TIMEOUT_SECONDS
                )


@contextmanager
def _existing_is_fine() -> Generator[None]:
    try:
        yield
    except CloudError as error:
        if error.code != 409:
            raise
