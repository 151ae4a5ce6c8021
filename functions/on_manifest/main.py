"""Entry point: an object of the manifests bucket was finalized or deleted."""

from __future__ import annotations

import functions_framework
from cloudevents.http import CloudEvent

from saxflow.pipeline.on_manifest import handle


@functions_framework.cloud_event
def on_manifest(event: CloudEvent) -> None:
    """Hand the event to the pipeline; an exception asks Eventarc to deliver it again."""
    handle(event["type"], event.data)
