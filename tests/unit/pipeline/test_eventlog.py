"""The log of a generation grows by whole events, in order, each once; Pub/Sub carries the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.cloud import pubsub_v1

from saxflow import events
from saxflow.errors import CloudError
from saxflow.events import Event
from saxflow.gcp import clients
from saxflow.gcp.objects import Uri
from saxflow.local.cloud import LocalCloud
from saxflow.pipeline.eventlog import announce, publish
from saxflow.pipeline.services import Services

WRITERS = 8


def logged(services: Services, name: str) -> list[tuple[str, Event]]:
    """Return (object name, event) of a log in the order of its names."""
    prefix = Uri(services.settings.control_bucket, f"deployments/{name}/1000/events/")
    return [
        (
            item.uri.name.removeprefix(prefix.name),
            events.decode(services.objects.read(item.uri).data or b""),
        )
        for item in services.objects.list(prefix)
    ]


def tell(services: Services, deployment: str, number: int) -> None:
    announce(
        services,
        "conversion.progressed",
        deployment=deployment,
        generation="1000",
        attempt=1,
        message=f"part {number}",
        number=number,
    )


@pytest.fixture
def received(services: Services) -> Iterator[Callable[[int], list[pubsub_v1.types.PubsubMessage]]]:
    """Return a function that pulls so many messages with Google's own subscriber."""
    subscriber = clients.subscriber_client(services.settings.endpoints)
    name = f"projects/{services.settings.project}/subscriptions/eventlog"
    subscriber.create_subscription(
        request={
            "name": name,
            "topic": services.settings.topic_path,
            "enable_message_ordering": True,
        }
    )

    def pull(count: int) -> list[pubsub_v1.types.PubsubMessage]:
        found: list[pubsub_v1.types.PubsubMessage] = []
        while len(found) < count:
            reply = subscriber.pull(subscription=name, max_messages=count, timeout=10)
            found += [each.message for each in reply.received_messages]
            ids = [each.ack_id for each in reply.received_messages]
            subscriber.acknowledge(subscription=name, ack_ids=ids)
        return found

    yield pull
    subscriber.delete_subscription(subscription=name)
    subscriber.close()


def test_events_are_numbered_from_zero(services: Services) -> None:
    for number in range(3):
        tell(services, "numbered", number)
    found = logged(services, "numbered")
    assert [name for name, _ in found] == ["00000000.json", "00000001.json", "00000002.json"]
    assert [event.data["message"] for _, event in found] == ["part 0", "part 1", "part 2"]


def test_an_event_told_twice_is_logged_once_and_published_as_it_was(
    services: Services, received: Callable[[int], list[pubsub_v1.types.PubsubMessage]]
) -> None:
    tell(services, "again", 1)
    tell(services, "again", 2)
    tell(services, "again", 1)
    ((_, first), _) = logged(services, "again")
    messages = received(3)
    assert [message.attributes["ce-id"].rsplit("/", 1)[1] for message in messages] == [
        "1",
        "2",
        "1",
    ]
    assert events.from_message(messages[2].data, messages[2].attributes) == first


def test_racing_writers_share_no_number(services: Services) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        told = list(pool.map(lambda each: tell(services, "race-log", each), range(WRITERS)))
    assert told == [None] * WRITERS
    found = logged(services, "race-log")
    assert [name for name, _ in found] == [f"{number:08d}.json" for number in range(WRITERS)]
    assert {event.data["message"] for _, event in found} == {f"part {n}" for n in range(WRITERS)}


def test_racing_writers_of_one_event_log_it_once(services: Services) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        told = list(pool.map(lambda _: tell(services, "same-log", 1), range(WRITERS)))
    assert told == [None] * WRITERS
    assert len(logged(services, "same-log")) == 1


def test_subscribers_receive_the_binary_binding_and_plain_attributes(
    services: Services, received: Callable[[int], list[pubsub_v1.types.PubsubMessage]]
) -> None:
    announce(
        services,
        "model.serving",
        deployment="told",
        generation="1000",
        attempt=2,
        message="it answers",
        model="/sax/test/told",
    )
    (message,) = received(1)
    attributes = dict(message.attributes)
    ((_, event),) = logged(services, "told")
    assert attributes.pop("ce-time") == event.time
    assert attributes == {
        "ce-specversion": "1.0",
        "ce-id": "told/1000/2/model.serving",
        "ce-type": "dev.saxflow.deployment.model.serving",
        "ce-source": "//saxflow/projects/proj/deployments/told",
        "ce-subject": "told",
        "content-type": "application/json",
        "event_type": "model.serving",
        "deployment": "told",
        "generation": "1000",
        "stage": "model",
        "model": "/sax/test/told",
    }
    assert message.ordering_key == "told"
    assert events.from_message(message.data, message.attributes) == event


def test_a_topic_that_refuses_is_told_and_the_event_stays_logged(
    cloud: LocalCloud,
    services: Services,
    received: Callable[[int], list[pubsub_v1.types.PubsubMessage]],
) -> None:
    cloud.faults.arm("pubsub", "publish", "return-403", count=1)
    with pytest.raises(CloudError, match=r"publish conversion\.progressed to .*topics/told"):
        tell(services, "refused-log", 1)
    cloud.faults.clear()
    ((_, event),) = logged(services, "refused-log")
    publish(services, event)
    assert received(1)[0].attributes["ce-id"] == event.id
