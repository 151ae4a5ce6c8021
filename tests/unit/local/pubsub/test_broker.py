from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core import exceptions
from google.pubsub_v1 import types

from saxflow.local.clock import VirtualClock
from saxflow.local.pubsub.broker import DELETED_TOPIC, Broker

TOPIC = "projects/p/topics/events"
SUBSCRIPTION = "projects/p/subscriptions/reader"


@pytest.fixture
def broker() -> Broker:
    broker = Broker(VirtualClock())
    broker.create_topic(types.Topic(name=TOPIC))
    return broker


def subscribe(broker: Broker, **fields: object) -> None:
    broker.create_subscription(types.Subscription(name=SUBSCRIPTION, topic=TOPIC, **fields))


def test_messages_go_to_whose_filter_they_pass(broker: Broker) -> None:
    subscribe(broker, filter="attributes:a")
    messages = [types.PubsubMessage(attributes={key: "1"}) for key in "ab"]
    ids = broker.publish(TOPIC, messages)
    assert len(set(ids)) == 2
    (entry,) = broker.receivable(SUBSCRIPTION).backlog.take(object(), 10, 10.0)
    assert entry.message.message_id == ids[0]


@pytest.mark.parametrize(
    "message",
    [
        types.PubsubMessage(),
        types.PubsubMessage(attributes={"goog": "1"}),
        types.PubsubMessage(attributes={"": "1"}),
        types.PubsubMessage(attributes={"k" * 257: "1"}),
        types.PubsubMessage(attributes={"k": "v" * 1025}),
        types.PubsubMessage(attributes={str(n): "1" for n in range(101)}),
        types.PubsubMessage(data=b"x" * 10_000_001),
    ],
)
def test_one_illegal_message_refuses_them_all(broker: Broker, message: types.PubsubMessage) -> None:
    subscribe(broker)
    with pytest.raises(exceptions.InvalidArgument):
        broker.publish(TOPIC, [types.PubsubMessage(data=b"good"), message])
    assert len(broker.subscription(SUBSCRIPTION).backlog) == 0


def test_names(broker: Broker) -> None:
    assert [each.name for each in broker.topics("projects/p")] == [TOPIC]
    assert broker.topics("projects/q") == []
    subscribe(broker)
    assert [each.name for each in broker.subscriptions("projects/p")] == [SUBSCRIPTION]
    assert broker.subscriptions_of(TOPIC) == [SUBSCRIPTION]


def test_deleted_topics_and_subscriptions(broker: Broker) -> None:
    subscribe(broker)
    broker.publish(TOPIC, [types.PubsubMessage(data=b"kept")])
    broker.delete_topic(TOPIC)
    assert broker.subscription(SUBSCRIPTION).definition.topic == DELETED_TOPIC
    assert len(broker.subscription(SUBSCRIPTION).backlog) == 1
    broker.delete_subscription(SUBSCRIPTION)
    for call in (broker.subscription, broker.delete_subscription, broker.detach):
        with pytest.raises(exceptions.NotFound):
            call(SUBSCRIPTION)
    with pytest.raises(exceptions.NotFound):
        broker.publish(TOPIC, [types.PubsubMessage(data=b"x")])


def test_backoff_doubles_up_to_the_policys_maximum(broker: Broker) -> None:
    policy = types.RetryPolicy(minimum_backoff={"seconds": 10}, maximum_backoff={"seconds": 35})
    subscribe(broker, retry_policy=policy)
    backoff = broker.subscription(SUBSCRIPTION).backlog.backoff
    assert [backoff(attempt) for attempt in (1, 2, 3)] == [10, 20, 35]


def test_detached_subscriptions_receive_nothing(broker: Broker) -> None:
    subscribe(broker)
    broker.detach(SUBSCRIPTION)
    broker.publish(TOPIC, [types.PubsubMessage(data=b"x")])
    assert len(broker.subscription(SUBSCRIPTION).backlog) == 0
    with pytest.raises(exceptions.FailedPrecondition):
        broker.receivable(SUBSCRIPTION)
    broker.wake()


def test_backoff_stays_at_its_maximum_however_often_a_message_comes_back(broker: Broker) -> None:
    subscribe(broker)
    backlog = broker.subscription(SUBSCRIPTION).backlog
    assert backlog.backoff(5000) == 0
    broker.update_subscription(
        types.Subscription(name=SUBSCRIPTION, retry_policy=types.RetryPolicy()), ["retry_policy"]
    )
    assert [backlog.backoff(attempt) for attempt in (1, 2, 7, 5000)] == [10, 20, 600, 600]


def test_a_message_that_is_refused_without_end_is_not_lost(broker: Broker) -> None:
    subscribe(broker)
    broker.publish(TOPIC, [types.PubsubMessage(data=b"x")])
    backlog = broker.subscription(SUBSCRIPTION).backlog
    for attempt in range(1, 1100):
        (entry,) = backlog.take(object(), 1, 10.0)
        assert entry.attempt == attempt
        backlog.modify(entry.ack_id, 0)


@pytest.mark.parametrize("name", [TOPIC, SUBSCRIPTION])
def test_one_of_many_deletes(broker: Broker, name: str) -> None:
    subscribe(broker)
    remove = broker.delete_topic if name == TOPIC else broker.delete_subscription
    barrier = threading.Barrier(8)

    def delete(_: int) -> bool:
        barrier.wait()
        try:
            remove(name)
        except exceptions.NotFound:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(delete, range(8))) == 1
