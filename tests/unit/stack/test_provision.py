"""What an installation needs is created once; doing it again brings it up to date."""

from __future__ import annotations

import pytest

from saxflow.errors import CloudError
from saxflow.gcp import clients
from saxflow.local.cloud import LocalCloud
from saxflow.settings import Endpoints, load_endpoints
from saxflow.stack import provision

PARENT = "projects/proj/locations/us-central1"
SOURCE = "main:\n  steps:\n  - out:\n      return: {}\n"


@pytest.fixture
def endpoints(cloud: LocalCloud) -> Endpoints:
    return load_endpoints(cloud.environ())


def test_buckets_twice_is_once_and_keeps_what_is_stored(endpoints: Endpoints) -> None:
    provision.ensure_buckets(endpoints, "proj", ["one", "two"], "us-central1")
    client = clients.storage_client("proj", endpoints)
    client.bucket("one").blob("kept").upload_from_string("x")
    provision.ensure_buckets(endpoints, "proj", ["one", "two", "three"], "us-central1")
    assert sorted(bucket.name for bucket in client.list_buckets()) == ["one", "three", "two"]
    assert client.bucket("one").blob("kept").download_as_bytes() == b"x"
    client.close()


def test_a_bucket_that_cannot_be_named_is_refused(endpoints: Endpoints) -> None:
    with pytest.raises(CloudError, match="create bucket NO") as caught:
        provision.ensure_buckets(endpoints, "proj", ["NO"], "us-central1")
    assert caught.value.code == 400


def test_a_topic_twice_is_once(endpoints: Endpoints) -> None:
    for _ in range(2):
        provision.ensure_topic(endpoints, "proj", "told")
    with clients.publisher_client(endpoints) as client:
        topics = [topic.name for topic in client.list_topics(project="projects/proj")]
    assert topics.count("projects/proj/topics/told") == 1


def test_a_workflow_again_has_the_new_source_and_variables(endpoints: Endpoints) -> None:
    for answer in ("first", "second"):
        source, variables = SOURCE.format(answer), {"SAXFLOW_X": answer}
        provision.ensure_workflow(endpoints, PARENT, "deploy-model", source, variables)
    client = clients.workflows_client(endpoints)
    (found,) = client.list_workflows(parent=PARENT)
    client.transport.close()
    assert found.source_contents == SOURCE.format("second")
    assert dict(found.user_env_vars) == {"SAXFLOW_X": "second"}
    assert found.revision_id.startswith("000002-")


def test_a_workflow_that_would_not_build_is_refused(endpoints: Endpoints) -> None:
    with pytest.raises(CloudError, match="failed to build"):
        provision.ensure_workflow(endpoints, PARENT, "broken", "main: 5", {})
