"""Route an event of the manifests bucket to the step it calls for."""

from __future__ import annotations

from typing import Any

from saxflow.errors import InputError
from saxflow.pipeline.accept import accept
from saxflow.pipeline.logs import log
from saxflow.pipeline.notification import parse
from saxflow.pipeline.remove import remove
from saxflow.pipeline.services import services


def handle(event_type: str, data: Any) -> None:
    """Act on one CloudEvent.

    Args:
        event_type: the CloudEvent's type.
        data: its data as decoded; bytes when they were no JSON.

    Raises:
        SaxflowError: trouble that a redelivery may cure; an event that nobody can act on is logged
            and taken.
    """
    try:
        event = parse(event_type, data)
    except InputError as error:
        log("WARNING", f"an event was left alone: {error}")
        return
    here = services()
    if event.bucket != here.settings.manifests_bucket:
        log("WARNING", f"gs://{event.bucket} is not the manifests bucket; event left alone")
    elif event.kind == "finalized":
        accept(here, event)
    elif event.kind == "deleted":
        remove(here, event)
