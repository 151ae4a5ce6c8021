"""The event log of a generation, and the topic: append create-only, then publish.

While an Execution holds the lease it alone appends; functions write what comes before an Execution
and what reconcile finds. Two writers of one number cannot both win, and the loser takes the next.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from saxflow import events, names
from saxflow.errors import CloudError
from saxflow.events import Event
from saxflow.gcp.objects import Uri
from saxflow.gcp.translate import translated
from saxflow.pipeline.services import Services

PUBLISH_TIMEOUT_SECONDS = 30.0
PUBLISH_TRIES = 2
"""The client refuses every event of a key after one that failed, until it is told to go on."""


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
    from google.cloud.pubsub_v1.publisher.exceptions import PublishToPausedOrderingKeyException

    topic = services.settings.topic_path
    action = f"publish {event.name} to {topic}"
    with translated("pubsub", action):
        for _ in range(PUBLISH_TRIES):
            try:
                return _send(services, event, action)
            except PublishToPausedOrderingKeyException:
                # An earlier event of the key failed; whoever told it knows.
                with suppress(RuntimeError):  # somebody else resumed it meanwhile
                    services.publisher.resume_publish(topic, event.ordering_key)
    raise CloudError(
        f"{action}: events of {event.ordering_key} fail again and again",
        service="pubsub",
        retryable=True,
    )


def _send(services: Services, event: Event, action: str) -> None:
    future = services.publisher.publish(
        services.settings.topic_path,
        event.message_data(),
        ordering_key=event.ordering_key,
        timeout=PUBLISH_TIMEOUT_SECONDS,
        **event.attributes(),
    )
    try:
        future.result(timeout=PUBLISH_TIMEOUT_SECONDS)
    except TimeoutError as error:
        raise CloudError(
            f"{action}: no answer in {PUBLISH_TIMEOUT_SECONDS:.0f} s",
            service="pubsub",
            retryable=True,
        ) from error


def read_event(services: Services, uri: Uri) -> Event:
    """Return one logged event."""
    return events.decode(services.objects.read(uri).data or b"")


def _append(services: Services, event: Event) -> Event:
    """Store the event under the next free number; return the stored one, which may be older."""
    deployment, generation = str(event.data["deployment"]), str(event.data["generation"])
    prefix = names.events_prefix(deployment, generation)
    bucket = services.settings.control_bucket
    known = [item.uri for item in services.objects.list(Uri(bucket, prefix))]
    for uri in known:
        stored = read_event(services, uri)
        if stored.id == event.id:
            return stored
    number = len(known)
    while True:
        uri = Uri(bucket, events.log_name(prefix, number))
        if services.objects.write(uri, event.encode(), if_generation="0"):
            return event
        stored = read_event(services, uri)
        if stored.id == event.id:
            return stored
        number += 1
