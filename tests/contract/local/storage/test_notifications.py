"""What is told about a change: events inside, notifications to Pub/Sub."""

from __future__ import annotations

import json

from google.cloud import storage

from .servers import Cloud


def test_events(cloud: Cloud, bucket: storage.Bucket) -> None:
    bucket.blob("e").upload_from_string(b"1")
    bucket.blob("e").upload_from_string(b"2")
    blob = bucket.get_blob("e")
    blob.metadata = {"a": "b"}
    blob.patch()
    blob.delete()
    kinds = ["finalized", "finalized", "deleted", "metadataUpdated", "deleted"]
    assert cloud.events == [(kind, "e") for kind in kinds]


def test_notifications(cloud: Cloud, bucket: storage.Bucket) -> None:
    notification = bucket.notification(
        "topic", topic_project="project", blob_name_prefix="in/", event_types=["OBJECT_FINALIZE"],
        custom_attributes={"x": "y"}, payload_format="JSON_API_V1",
    )  # fmt: skip
    notification.create()
    assert [each.topic_name for each in bucket.list_notifications()] == ["topic"]
    bucket.blob("out/1").upload_from_string(b"1")
    bucket.blob("in/1").upload_from_string(b"1")
    bucket.blob("in/1").delete()
    ((topic, data, attributes),) = cloud.published
    assert topic == "projects/project/topics/topic"
    assert json.loads(data)["name"] == "in/1"
    assert (attributes["eventType"], attributes["x"]) == ("OBJECT_FINALIZE", "y")
    notification.delete()
    assert list(bucket.list_notifications()) == []
