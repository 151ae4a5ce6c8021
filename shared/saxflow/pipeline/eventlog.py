"""The event log of a generation, and the topic: append create-only, then publish.

While an Execution holds the lease it alone appends; functions write what comes before an Execution
and what reconcile finds. Two writers of one number cannot both win, and the loser takes the next.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from saxflow import events, names
from saxflow.errors import CloudError, IntegrityError
from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.gcp.translate import translated
from saxflow.pipeline.services import Services

PUBLISH_TIMEOUT_SECONDS = 30.0


def announce(
    services: Services,
    name: str,
    *,
    deployment: str,
    generation: str,
    attempt: int,
    message: str,
    **details: Any,
) -> None:
    """Log an event and publish it; repeating the call changes nothing but publishes again."""
    event = events.build(
        name,
        project=services.settings.project,
        deployment=deployment,
        generation=generation,
        attempt=attempt,
        message=message,
        now=datetime.fromtimestamp(services.clock(), UTC),
        **details,
    )
    publish(services, _append(services, event))


def publish(services: Services, event: Event) -> None:
    """Publish an event in the binary binding, in the order of its deployment.

    Raises:
        CloudError: Pub/Sub did not take it; a repetition may.
    """
    publisher = services.publisher
    topic = services.settings.topic_path
    with translated("pubsub", f"publish {event.name} to {topic}"):
        future = publisher.publish(
            topic,
            event.message_data(),
            ordering_key=event.ordering_key,
            timeout=PUBLISH_TIMEOUT_SECONDS,
            **event.attributes(),
        )
        try:
            future.result(timeout=PUBLISH_TIMEOUT_SECONDS)
        except TimeoutError as error:
            publisher.resume_publish(topic, event.ordering_key)
            raise CloudError(
                f"publish {event.name} to {topic}: no answer in {PUBLISH_TIMEOUT_SECONDS:.0f} s",
                service="pubsub",
                retryable=True,
            ) from error


def _append(services: Services, event: Event) -> Event:
    """Store the event under the next free number; return the stored one, which may be older."""
    deployment, generation = str(event.data["deployment"]), str(event.data["generation"])
    prefix = names.events_prefix(deployment, generation)
    bucket = services.settings.control_bucket
    known = [item.uri for item in services.objects.list(Uri(bucket, prefix))]
    for uri in known:
        stored = events.decode(services.objects.read(uri).data or b"")
        if stored.id == event.id:
            return stored
    number = len(known)
    while True:
        uri = Uri(bucket, events.log_name(prefix, number))
        if services.objects.write(uri, event.encode(), if_generation="0"):
            return event
        rival = services.objects.read(uri)
        if rival.data is None:
            raise IntegrityError(f"{uri} exists and cannot be read")
        stored = events.decode(rival.data)
        if stored.id == event.id:
            return stored
        number += 1
